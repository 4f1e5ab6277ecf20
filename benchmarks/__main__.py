"""``python -m benchmarks``: compares event loops in one run. README.md says how to read what it prints."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import machine, profiling, table
from benchmarks.cells import CELLS
from benchmarks.loops import NAMES
from benchmarks.processes import Bench, MeasurementError, availability, compiled
from benchmarks.rounds import compare, say

PROFILE = "profile"
ALL = "all"
SHORTEST_ROUND = 0.1


def parser() -> argparse.ArgumentParser:
    cells = "\n".join(f"  {cell.name:<10} {cell.title}" for cell in CELLS.values())
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"cells:\n{cells}\n  {ALL:<10} all of them\n"
        f"  {PROFILE:<10} before a cell: a profile of its server, with perf, loop by loop",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("what", nargs="*", metavar="CELL", help="the default ones when none is named")
    arguments.add_argument(
        "--peers", action="store_true", help="first make an environment with every loop there is, and run in it"
    )
    arguments.add_argument("--loops", help=f"some of {','.join(NAMES)} (default: all that are installed)")
    arguments.add_argument("--rounds", type=int, default=5, help="rounds of each cell (default: 5)")
    arguments.add_argument("--seconds", type=float, default=1.0, help="seconds of one round (default: 1)")
    arguments.add_argument("--connections", type=int, help="connections at a time (default: the cell's)")
    arguments.add_argument("--size", type=int, help="bytes of a message (default: the cell's)")
    arguments.add_argument("--nice", type=int, default=0, help="niceness of server and load, below 0 only for root")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round to FILE")
    arguments.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="LOOP=PATH",
        help="run LOOP with another interpreter than this one (may be repeated)",
    )
    return arguments


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    reader = parser()
    options = reader.parse_args(arguments)
    options.profile = PROFILE in options.what
    chosen = [name for name in options.what if name != PROFILE]
    for name in chosen:
        if name not in (*CELLS, ALL):
            reader.error(f"no such cell: {name!r} (see --help)")
    options.cells = list(CELLS.values()) if ALL in chosen else [CELLS[name] for name in dict.fromkeys(chosen)]
    if not options.cells:
        reader.error("which cell?")
    options.pythons = dict(pair.partition("=")[::2] for pair in options.python)
    names = NAMES if options.loops is None else options.loops.split(",")
    options.names = list(dict.fromkeys(names))
    for name in (*options.names, *options.pythons):
        if name not in NAMES:
            reader.error(f"no such loop: {name!r} (choose from {', '.join(NAMES)})")
    for name in ("rounds", "connections", "size"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            reader.error(f"--{name} must be at least 1")
    if options.seconds < SHORTEST_ROUND:
        reader.error(f"--seconds must be at least {SHORTEST_ROUND}")
    return options


def available(bench: Bench, names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The loops that can be had with their versions, and those that can't with the reason."""
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in names:
        there, text = availability(bench, name)
        (found if there else missing)[name] = text
    return found, missing


def heading(bench: Bench, options: argparse.Namespace, loops: dict[str, str], missing: dict[str, str]) -> list[str]:
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [
        f"{today}, CPython {platform.python_version()}, {machine.description()}",
        f"server on CPU {bench.cores.server}, load on CPU {bench.cores.load};"
        f" {'one run' if options.profile else f'{options.rounds} rounds, medians; a round'}: {options.seconds:g} s",
        "loops: " + ", ".join(f"{name} {version}" for name, version in loops.items()),
        *(f"left out: {name}: {reason}" for name, reason in missing.items()),
    ]


def print_profiles(bench: Bench, options: argparse.Namespace, loops: Sequence[str]) -> None:
    for cell in options.cells:
        for name in loops:
            if cell.includes(name):
                work = cell.workload(options.connections, options.size, options.seconds)
                print(f"\n{cell.described(work)}; loop: {name}")
                print("\n".join(profiling.profile(bench, cell, name, work)), flush=True)


def print_tables(bench: Bench, options: argparse.Namespace, loops: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """What goes into the JSON file, and whether every loop finished every cell."""
    cells: dict[str, Any] = {}
    sound = True
    for cell in options.cells:
        work = cell.workload(options.connections, options.size, options.seconds)
        results = compare(bench, cell, loops, work, options.rounds)
        print(f"\n{cell.described(work)}")
        print("\n".join(table.lines(cell, results)), flush=True)
        cells[cell.name] = table.as_json(cell, work, results)
        sound = sound and all(result.failure is None for result in results)
    return cells, sound


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when every loop finished every cell, 1 when something failed, 2 for wrong arguments."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parsed(given)
    try:
        if options.peers:
            from benchmarks import peers  # not there in the environment that it makes

            peers.run_with_peers([argument for argument in given if argument != "--peers"])
        with compiled() as programs:
            bench = Bench(programs, machine.choose_cores(), options.nice, options.pythons)
            loops, missing = available(bench, options.names)
            title = heading(bench, options, loops, missing)
            print("\n".join(title), flush=True)
            if not loops:
                raise MeasurementError("none of the loops is available")
            if options.profile:
                print_profiles(bench, options, list(loops))
                return 0
            cells, sound = print_tables(bench, options, list(loops))
    except (MeasurementError, RuntimeError, PermissionError) as error:
        say(f"benchmarks: {error}")
        return 1
    if options.json is not None:
        document = {"heading": title, "loops": loops, "missing": missing, "cells": cells}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if sound else 1


def stop(number: int, frame: object) -> NoReturn:
    """SIGTERM ends the program in order: no process and no temporary file stays behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
