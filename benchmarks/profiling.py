"""Where a server's time goes: the same server and the same load, with perf looking on."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import tempfile
import time

from benchmarks.cells import Cell
from benchmarks.measuring import Conversation, Workload
from benchmarks.processes import Bench, MeasurementError, first_line, loading, serving

OBJECTS = 8
SYMBOLS = 30
#: Samples each second; a prime number, so that sampling doesn't keep step with the kernel's tick.
FREQUENCY = 4999


def profile(bench: Bench, cell: Cell, name: str, work: Workload) -> list[str]:
    """The objects and the symbols that used the most CPU, with their shares of it.

    Raises MeasurementError without perf, and for a cell without a server.
    """
    perf = shutil.which("perf")
    if perf is None:
        raise MeasurementError("perf is not installed (in Debian, the package linux-perf)")
    if not isinstance(cell.measure, Conversation):
        raise MeasurementError(f"{cell.name} has no server to look at")
    service, kind = cell.measure.service, cell.measure.kind
    bench = dataclasses.replace(bench, nice=0)  # perf needs a CPU too, at a time when both are taken
    with tempfile.NamedTemporaryFile(prefix="benchmarks-", suffix=".perf") as data:
        with (
            serving(bench, service, name, work.size) as server,
            loading(bench, server, kind, work.connections, work.size, work.seconds + 1) as process,
        ):
            time.sleep(work.seconds / 5)
            # cpu-clock and not cycles: virtual machines often have no counters.
            record = [perf, "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-o", data.name]
            run([*record, "-p", str(server.pid), "--", "sleep", str(work.seconds)])
            first_line(process, work.seconds + 30)
        report = [perf, "report", "-i", data.name, "--stdio", "--no-children", "--sort"]
        objects, symbols = (shares(run([*report, order])) for order in ("dso", "dso,symbol"))
    if not symbols:
        raise MeasurementError("perf took no sample of the server")
    return [*objects[:OBJECTS], "", *symbols[:SYMBOLS]]


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise MeasurementError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout


def shares(report: str) -> list[str]:
    """The lines of a perf report without its comments and its empty columns."""
    return [line.rstrip(" -") for line in report.splitlines() if line.strip() and not line.startswith("#")]
