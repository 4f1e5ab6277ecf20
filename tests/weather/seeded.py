"""Runs a program in weather: ``python seeded.py [--seed S] [--permille P] PROGRAM ARGUMENT...``.

Calls on the loop's descriptors come up short, would block or are interrupted, as seeded_plan.c says. The seed is today's
unless it is given. When the program has ended, says on which calls the weather fell, and ends with its exit status; with 1
if there was none at all.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import failing_calls

KINDS = ("would block", "interrupted", "short", "another")
MAX_WHICH = 256  # at least as many as there are calls
PERMILLE = 60


def plan(folder: Path, seed: int, permille: int) -> dict[str, str]:
    """Environment variables: the weather of the programs that have them. What falls is counted in a file in ``folder``."""
    counts = folder / "counts"
    counts.write_bytes(bytes(MAX_WHICH * 4 * 8))
    library = folder / "failing_calls.so"
    if not library.exists():
        failing_calls.build(folder)
    numbers = {"WEATHER_SEED": str(seed), "WEATHER_PERMILLE": str(permille), "WEATHER_COUNTS": str(counts)}
    return {"LD_PRELOAD": str(library), **numbers}


def fallen(folder: Path) -> dict[str, dict[str, int]]:
    """For each call on which weather fell, how often and in which way."""
    library = ctypes.CDLL(str(folder / "failing_calls.so"))
    library.weather_name.restype = ctypes.c_char_p
    numbers = enumerate(struct.iter_unpack("4Q", (folder / "counts").read_bytes()))
    return {
        library.weather_name(which).decode(): {kind: n for kind, n in zip(KINDS, counted, strict=True) if n}
        for which, counted in numbers
        if any(counted)
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=datetime.datetime.now(datetime.UTC).date().toordinal())
    parser.add_argument("--permille", type=int, default=PERMILLE)
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="weather") as name:
        weather = plan(Path(name), options.seed, options.permille)
        status = subprocess.run([options.program, *options.arguments], env={**os.environ, **weather}).returncode
        found = fallen(Path(name))
    print(f"weather of seed {options.seed}, {options.permille} of a thousand calls:")
    for call, ways in found.items():
        print(f"  {call}: " + ", ".join(f"{count} {way}" for way, count in ways.items()))
    if not found:
        print("  none: it did not reach the program's calls")
    return status or int(not found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
