"""An environment of its own for a comparison: every loop of peers.txt that can be had here, and what services.txt names.

It stands in the user's cache folder, one for each version of Python, and is made again when what it is made from has
changed: the two lists, the Python. edgeloop in it is a wheel of this checkout. A loop without a wheel for this Python is
left out, and ``missing.json`` keeps the reason. aiofastnet has a folder apart, which loops.py looks into for the rows
that use it: what finds aiofastnet installed may use it, on a row that is not aiofastnet's.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks.loops import LOOPS, MISSING, apart
from benchmarks.processes import MeasurementError
from compat.control import cache
from compat.environment import PYTHON, edgeloop_wheel

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers.txt"
SERVICES = HERE / "services.txt"


def prepare(folder: Path) -> Path:
    """The interpreter of the environment in ``folder``, which is made or brought up to date first.

    Raises MeasurementError where that can't be done.
    """
    digest = hashlib.sha256(sys.version.encode() + PEERS.read_bytes() + SERVICES.read_bytes()).hexdigest()
    ready = folder / "ready"
    python = folder / "bin" / "python"
    if not ready.exists() or ready.read_text() != digest:
        shutil.rmtree(folder, ignore_errors=True)
        must(sys.executable, "-m", "venv", str(folder))
        must(*pip(python), "-r", str(SERVICES))
        (folder / MISSING).write_text(json.dumps(install_peers(python, folder), indent=1) + "\n")
        ready.write_text(digest)
    try:
        wheel = edgeloop_wheel()
    except RuntimeError as failed:
        raise MeasurementError(f"no wheel of edgeloop: {failed}") from failed
    put_edgeloop(python, folder, wheel)
    return python


def install_peers(python: Path, folder: Path) -> dict[str, str]:
    """Install what can be; the others by their names, with the reason."""
    missing = {}
    replacing = {loop.package for loop in LOOPS.values() if loop.over is not None}
    for line in PEERS.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name = line.partition("==")[0]
        # Wheels only: a peer is measured as its makers build it.
        command = [*pip(python), "--only-binary", ":all:", line]
        if name in replacing:
            command += ["--target", str(apart(name, folder))]
        done = subprocess.run(command, env=clean(), capture_output=True, text=True)
        if done.returncode:
            errors = [text[7:] for text in done.stderr.splitlines() if text.startswith("ERROR: ")]
            missing[name] = f"{line} can't be installed on Python {PYTHON}: {(errors or ['pip failed'])[0]}"
    return missing


def put_edgeloop(python: Path, folder: Path, wheel: Path) -> None:
    """The wheel, and a folder to run in that has ``benchmarks`` and not the sources of edgeloop, which would be taken."""
    marker = folder / "edgeloop"
    if not marker.exists() or marker.read_text() != str(wheel):
        must(*pip(python), "--no-deps", "--force-reinstall", str(wheel))
        marker.write_text(str(wheel))
    link = folder / "checkout" / "benchmarks"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(HERE)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "benchmarks.pth").write_text(f"{link.parent}\n")


def pip(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("EDGELOOP_")}


def must(*command: str) -> None:
    done = subprocess.run(command, env=clean(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise MeasurementError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}")


def run_with_peers(arguments: Sequence[str], module: str = "benchmarks") -> NoReturn:
    """This program again with ``arguments``, in the environment. Two at a time would measure each other: one waits."""
    folder = cache() / f"bench-{PYTHON}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.with_name(folder.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    fcntl.flock(lock, fcntl.LOCK_EX)
    python = prepare(folder)
    os.set_inheritable(lock, True)  # held to the end of the comparison
    os.execv(python, [str(python), "-P", "-m", module, *arguments])
