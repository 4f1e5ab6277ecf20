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
from typing import NoReturn

from benchmarks import charts, machine, profiling, report, table
from benchmarks.cells import CELLS, CONNECTIONS, FAMILIES, SIZES, Cell, variants
from benchmarks.loops import NAMES, packages
from benchmarks.processes import Bench, MeasurementError, availability, compiled
from benchmarks.rounds import compare, say

PROFILE = "profile"
ALL = "all"
SHORTEST_ROUND = 0.1
#: Rounds and their seconds: with every peer the usual cells take about three quarters of an hour, or twelve minutes.
USUAL = (5, 0.4)
QUICK = (2, 0.2)
QUICK_CONNECTIONS = 2000
#: Not the link to it that is in an environment of peers.py.
CHECKOUT = Path(__file__).resolve().parents[1]


def parser() -> argparse.ArgumentParser:
    hidden = {variant.name for family in FAMILIES for variant in variants(family)}
    cells = "\n".join(f"  {cell.name:<19} {cell.title}" for cell in CELLS.values() if cell.name not in hidden)
    families = ", ".join(cell.name for cell in FAMILIES)
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"cells:\n{cells}\n  {ALL:<19} all of them\n"
        f"  {PROFILE:<19} before a cell: a profile of its server, with perf, loop by loop\n\n"
        f"{families} also as NAME-SIZE-CONNECTIONS,\nsuch as echo-16k-64: {', '.join(SIZES)} bytes,"
        f" {', '.join(map(str, CONNECTIONS))} connections",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("what", nargs="*", metavar="CELL", help="the usual ones when none is named")
    arguments.add_argument(
        "--peers", action="store_true", help="first make an environment with every loop there is, and run in it"
    )
    arguments.add_argument("--loops", help=f"some of {','.join(NAMES)} (default: all that are installed)")
    arguments.add_argument(
        "--quick",
        action="store_true",
        help="{} rounds of {} s, at most {:,} connections".format(*QUICK, QUICK_CONNECTIONS),
    )
    arguments.add_argument("--rounds", type=int, help=f"rounds of each cell (default: {USUAL[0]})")
    arguments.add_argument("--seconds", type=float, help=f"seconds of one round (default: {USUAL[1]})")
    arguments.add_argument("--connections", type=int, help="connections at a time (default: the cell's)")
    arguments.add_argument("--size", type=int, help="bytes of a message (default: the cell's)")
    arguments.add_argument("--nice", type=int, default=0, help="niceness of server and load, below 0 only for root")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round to FILE")
    arguments.add_argument(
        "--write",
        action="store_true",
        help="write a page and the figures of every round to benchmarks/results, and the charts to docs/charts",
    )
    arguments.add_argument(
        "--again",
        type=Path,
        metavar="FILE",
        help="put the cells in the place of those of the kept run FILE, which says so",
    )
    arguments.add_argument(
        "--chart", type=Path, metavar="FILE", help="measure nothing: make the page and the charts of FILE again"
    )
    arguments.add_argument("--charts", type=Path, default=CHECKOUT / "docs" / "charts", help="another folder for them")
    arguments.add_argument(
        "--results", type=Path, default=CHECKOUT / "benchmarks" / "results", help="another folder for the page"
    )
    arguments.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="LOOP=PATH",
        help="run LOOP with another interpreter than this one (may be repeated)",
    )
    return arguments


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    reader = parser()
    options = reader.parse_args(arguments)
    options.profile = PROFILE in options.what
    options.cells = chosen([name for name in options.what if name != PROFILE], reader)
    if options.profile and options.what == [PROFILE]:
        reader.error("which cell?")
    usual_rounds, usual_seconds = QUICK if options.quick else USUAL
    options.rounds = usual_rounds if options.rounds is None else options.rounds
    options.seconds = usual_seconds if options.seconds is None else options.seconds
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


def chosen(names: Sequence[str], reader: argparse.ArgumentParser) -> list[Cell]:
    if not names:
        return [cell for cell in CELLS.values() if cell.usual]
    if ALL in names:
        return list(CELLS.values())
    # echo-1k-64 is echo.
    plain = {f"{cell.name}-1k-64": cell.name for cell in FAMILIES}
    found = list(dict.fromkeys(plain.get(name, name) for name in names))
    for name in found:
        if name not in CELLS:
            reader.error(f"no such cell: {name!r} (see --help)")
    return [CELLS[name] for name in found]


def available(bench: Bench, names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The loops that can be had with their versions, and those that can't with the reason."""
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in names:
        there, text = availability(bench, name)
        (found if there else missing)[name] = text
    return found, missing


def facts(options: argparse.Namespace, loops: dict[str, str], missing: dict[str, str]) -> report.Document:
    """What is known before anything is measured."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "implementation": platform.python_implementation(),
        "python": platform.python_version(),
        "machine": machine.description(),
        "commit": machine.commit(CHECKOUT),
        "packages": packages(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "loops": loops,
        "missing": missing,
        "cells": {},
    }


def heading(bench: Bench, options: argparse.Namespace, known: report.Document) -> list[str]:
    return [
        f"{known['date']}, {report.interpreter(known)}, {known['machine']}",
        f"server on CPU {bench.cores.server}, load on CPU {bench.cores.load};"
        f" {'one run' if options.profile else f'{options.rounds} rounds, medians; a round'}: {options.seconds:g} s",
        "loops: " + ", ".join(f"{name} {version}" for name, version in known["loops"].items()),
        *(f"left out: {name}: {reason}" for name, reason in known["missing"].items()),
    ]


def print_profiles(bench: Bench, options: argparse.Namespace, loops: Sequence[str]) -> None:
    for cell in options.cells:
        for name in loops:
            if cell.includes(name):
                work = cell.workload(options.connections, options.size, options.seconds)
                print(f"\n{cell.described(work)}; loop: {name}")
                print("\n".join(profiling.profile(bench, cell, name, work)), flush=True)


def print_tables(bench: Bench, options: argparse.Namespace, document: report.Document) -> bool:
    """Measure and print cell by cell; the document gets each. Whether every loop finished every cell."""
    sound = True
    for cell in options.cells:
        most = QUICK_CONNECTIONS if options.quick else None
        work = cell.workload(options.connections, options.size, options.seconds, most)
        rounds = min(options.rounds, cell.rounds or options.rounds)
        results = compare(bench, cell, list(document["loops"]), work, rounds)
        print(f"\n{cell.described(work)}")
        print("\n".join(table.lines(cell, results)), flush=True)
        document["cells"][cell.name] = table.as_json(cell, work, results)
        for path in kept_in(document, options):  # as soon as there is something, in case there won't be all
            write_json(document, path)
        sound = sound and all(result.failure is None for result in results)
    return sound


def kept_in(document: report.Document, options: argparse.Namespace) -> list[Path]:
    """The files of the figures of every round."""
    found = [] if options.json is None else [options.json]
    if options.write:
        options.results.mkdir(parents=True, exist_ok=True)
        other = "" if document["implementation"] == "CPython" else f"{document['implementation'].lower()}-"
        found.append(options.results / f"{document['date'][:10]}-{other}{document['python']}.json")
    return found


def write_json(document: report.Document, path: Path) -> None:
    path.write_text(json.dumps(document, separators=(",", ":")).replace('},"', '},\n"') + "\n")


def write_page(document: report.Document, options: argparse.Namespace, path: Path) -> None:
    path.write_text("\n".join(report.markdown(document)))
    drawn = charts.draw(document, options.charts)
    say(f"{path} and {len(drawn)} charts in {options.charts}")


def measure(options: argparse.Namespace) -> int:
    with compiled() as programs:
        bench = Bench(programs, machine.choose_cores(), options.nice, options.pythons)
        loops, missing = available(bench, options.names)
        document = facts(options, loops, missing)
        print("\n".join(heading(bench, options, document)), flush=True)
        if not loops:
            raise MeasurementError("none of the loops is available")
        if options.profile:
            print_profiles(bench, options, list(loops))
            return 0
        sound = print_tables(bench, options, document)
    if options.write:
        write_page(document, options, kept_in(document, options)[-1].with_suffix(".md"))
    if options.again is not None:
        kept = report.replaced(json.loads(options.again.read_text()), document)
        write_json(kept, options.again)
        write_page(kept, options, options.again.with_suffix(".md"))
    return 0 if sound else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when every loop finished every cell, 1 when something failed, 2 for wrong arguments."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parsed(given)
    try:
        if options.chart is not None:
            write_page(json.loads(options.chart.read_text()), options, options.chart.with_suffix(".md"))
            return 0
        if options.peers:
            from benchmarks import peers  # not there in the environment that it makes

            peers.run_with_peers([argument for argument in given if argument != "--peers"])
        return measure(options)
    except (MeasurementError, RuntimeError, OSError) as error:
        say(f"benchmarks: {error}")
        return 1


def stop(number: int, frame: object) -> NoReturn:
    """SIGTERM ends the program in order: no process and no temporary file stays behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
