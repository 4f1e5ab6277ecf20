"""``python -m benchmarks.instructions``: how many instructions one piece of work takes, counted by valgrind's callgrind.

A count hardly depends on the machine or on what else it does, so it can be held against the one that is on record in
instructions.json. Each scenario is run twice, for two lengths; the difference is what the work takes, without start and end.
With ``--loops`` the loops named are counted and compared, where rounds on a noisy machine can't tell them apart: what they
have the processor do, but not what the kernel does for them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.loops import LOOPS, environment
from benchmarks.scenarios import SCENARIOS

SHORT, LONG = 1000, 3000
RECORD = Path(__file__).with_name("instructions.json")
PYTHON = "{}.{}.{}".format(*sys.version_info[:3])


def count(scenario: str, loop: str | None = None, lengths: tuple[int, int] = (SHORT, LONG)) -> int:
    """Instructions for one more piece of ``scenario``; on edgeloop, of the edition that runs here, if no loop is named.

    Raises RuntimeError if there is no valgrind, or the program fails.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise RuntimeError("valgrind is not installed")
    command = [sys.executable, "-m", "benchmarks.scenarios", scenario]
    after = [] if loop is None else [loop]
    variables = dict(os.environ) if loop is None else environment(loop)
    short, long = (_collected(valgrind, [*command, str(length), *after], variables) for length in lengths)
    return round((long - short) / (lengths[1] - lengths[0]))


def _collected(valgrind: str, command: list[str], variables: dict[str, str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [valgrind, "--tool=callgrind", f"--callgrind-out-file={folder}/out", *command],
            cwd=Path(__file__).parents[1],
            env=variables | {"PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
        )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("=="))  # not valgrind
        raise RuntimeError(f"{' '.join(command[3:])}: exit status {done.returncode}\n{said[-2000:]}")
    return int(found[1])


def one_for_each_core() -> ThreadPoolExecutor:
    """Runs as many counts at a time as there are cores: they don't disturb each other."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)))


def compare(scenarios: Sequence[str], loops: Sequence[str]) -> int:
    """Print a table, a row for each scenario. Exit status 1 if a loop failed in one: a dash, and why at the end."""
    failures = []
    print(" " * 10, *(f"{loop:>14}" for loop in loops))
    with one_for_each_core() as pool:
        counts = {(name, loop): pool.submit(count, name, loop) for name in scenarios for loop in loops}
        for name in scenarios:
            row = []
            for loop in loops:
                try:
                    row.append(f"{counts[name, loop].result():,}")
                except RuntimeError as failed:
                    row.append("-")
                    failures.append(f"{loop}, {str(failed).splitlines()[0]}: {str(failed).splitlines()[-1]}")
            print(f"{name:<10}", *(f"{cell:>14}" for cell in row), flush=True)
    for failure in failures:
        print(failure)
    return 1 if failures else 0


def on_record(edition: str) -> dict[str, int]:
    """The counts that were kept for this Python and edition; none where there are none."""
    if not RECORD.exists():
        return {}
    kept: dict[str, dict[str, int]] = json.loads(RECORD.read_text())
    return kept.get(f"{PYTHON} {edition}", {})


def keep(edition: str, counts: dict[str, int]) -> None:
    """Put the counts on record."""
    kept = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    kept[f"{PYTHON} {edition}"] = counts
    RECORD.write_text(json.dumps(kept, indent=4, sort_keys=True) + "\n")


def slower(counts: dict[str, int], kept: dict[str, int], tolerance: float) -> list[str]:
    """The scenarios that take more than ``1 + tolerance`` times what is on record."""
    return [name for name, number in counts.items() if name in kept and number > kept[name] * (1 + tolerance)]


def loops_named(text: str) -> list[str]:
    """The names in ``--loops``. Raises ArgumentTypeError for one that no loop has."""
    names = text.split(",")
    for name in names:
        if name not in LOOPS:
            raise argparse.ArgumentTypeError(f"no such loop: {name!r} (choose from {', '.join(LOOPS)})")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 if a scenario takes more than is on record, and more than the tolerance, or as ``compare``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[[], *SCENARIOS], metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--write", action="store_true", help="put the counts on record")
    parser.add_argument("--tolerance", type=float, default=0.15, help="how much more is let pass (default: 0.15)")
    parser.add_argument("--loops", type=loops_named, help="compare these, separated by commas, instead of the record")
    parser.add_argument("--peers", action="store_true", help="in the environment of python -m benchmarks --peers")
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(given)
    if options.peers:
        from benchmarks import peers  # not there in the environment that it makes

        peers.run_with_peers([argument for argument in given if argument != "--peers"], "benchmarks.instructions")
    if options.loops:
        return compare(options.what or list(SCENARIOS), options.loops)
    from edgeloop import EDITION

    kept = on_record(EDITION)
    print(f"CPython {PYTHON}, {EDITION} edition: instructions for each")
    counts = {}
    with one_for_each_core() as pool:
        for name, number in [(name, pool.submit(count, name)) for name in options.what or SCENARIOS]:
            counts[name] = number.result()
            was = f"{kept[name]:>10,}  {counts[name] / kept[name] - 1:+.1%}" if name in kept else ""
            print(f"  {name:<10} {counts[name]:>10,} {was}  {SCENARIOS[name].__doc__}", flush=True)
    if options.write:
        keep(EDITION, kept | counts)
        return 0
    worse = slower(counts, kept, options.tolerance)
    if worse:
        print(f"more than {options.tolerance:.0%} above what is on record: {', '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
