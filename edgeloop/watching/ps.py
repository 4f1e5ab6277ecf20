"""``python -m edgeloop ps [PID]``: one look at the shared loops of this machine, or at one process's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from .looking_inside import stack_of, tasks_of
from .rows import NotWatchedError, Row, Sampler, pause_and_look

USAGE = """\
usage: python -m edgeloop ps [PID] [--json] [--stack] [--tasks]

Shows the loops of this machine that are shared (edgeloop.share), or those of one process. --json: for scripts.
--stack and --tasks, for one process: what it is doing (by py-spy), and its tasks (by Python 3.14's asyncio).
"""
LOOK_SECONDS = 0.25  # between two looks, which tell a blocked loop from a busy one, and give the rates

NO_LOOP = "no loop of this machine is shared; EDGELOOP_WATCH=0.1 in a program's environment, or edgeloop.share, does it"

COLUMNS = (
    "PID",
    "LOOP",
    "STATE",
    "LOAD",
    "DELAY50",
    "DELAY99",
    "CONN",
    "ACC/S",
    "IN/S",
    "OUT/S",
    "CB/S",
    "LONGEST",
    "COMMAND",
)


def main(args: Sequence[str]) -> int:
    """Run the command with these arguments. Return the exit status: 0, 1 if there is no such loop, 2 for wrong arguments."""
    options = {arg for arg in args if arg.startswith("-")}
    numbers = [arg for arg in args if not arg.startswith("-")]
    if options & {"-h", "--help"}:
        print(USAGE, end="")
        return 0
    if (
        options - {"--json", "--stack", "--tasks"}
        or len(numbers) > 1
        or (options & {"--stack", "--tasks"} and not numbers)
    ):
        print(USAGE, end="", file=sys.stderr)
        return 2
    try:
        pid = pid_of(numbers[0]) if numbers else None
        rows = pause_and_look(Sampler(pid), LOOK_SECONDS)
    except NotWatchedError as exc:
        print(f"python -m edgeloop ps: {exc}", file=sys.stderr)
        return 1
    try:
        _print(rows, pid, options)
    except BrokenPipeError:
        give_up_output()
    return 0


def _print(rows: Sequence[Row], pid: int | None, options: set[str]) -> None:
    if "--json" in options:
        print(json.dumps([row.values() for row in rows]))
    elif pid is None:
        print("\n".join(lines(rows)))
    else:
        print("\n\n".join("\n".join(details(row)) for row in rows))
    if pid is not None and "--stack" in options:
        print(f"\n{stack_of(pid)}")
    if pid is not None and "--tasks" in options:
        print(f"\n{tasks_of(pid)}")
    sys.stdout.flush()  # here, where a reader that is gone can be seen


def give_up_output() -> None:
    """Nobody reads the output any more, as with ``| head``: or the interpreter would complain of that at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def pid_of(text: str) -> int:
    """Return the number of a process. Raise NotWatchedError if it is none."""
    if not text.isascii() or not text.isdigit():
        raise NotWatchedError(f"{text!r} is not the number of a process")
    return int(text)


def cells(row: Row) -> list[str]:
    """Return what stands in COLUMNS."""
    value = row.values()
    state = row.state
    if state == "blocked":
        state = f"blocked {seconds(value['blocked_for'])}"
    return [
        str(value["pid"]),
        str(value["loop"]),
        state,
        f"{value['load']:.0%}",
        seconds(value["delay_p50"]),
        seconds(value["delay_p99"]),
        str(value["connections"]),
        number(value["accepts"]),
        number(value["bytes_in"]),
        number(value["bytes_out"]),
        number(value["callbacks"]),
        seconds(value["longest"]),
        value["command"],
    ]


def lines(rows: Sequence[Row]) -> list[str]:
    """Return a table in plain text, and where it is empty what would fill it."""
    table = [list(COLUMNS), *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(COLUMNS))]
    # Text to the left, numbers to the right.
    left = {COLUMNS.index("STATE"), COLUMNS.index("COMMAND")}
    shown = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    return shown if rows else [*shown, NO_LOOP]


def details(row: Row) -> list[str]:
    """Return the figures of one loop, a line each: those of the last moments, and those since its start."""
    stats, value = row.stats, row.values()
    lost = stats.lost
    shown: list[tuple[str, Any]] = [
        ("loop", f"{stats.loop}  {value['command']}"),
        ("state", cells(row)[COLUMNS.index("STATE")]),
        ("load", f"{value['load']:.0%} now, {stats.utilization:.0%} of {stats.seconds:.0f} s since its start"),
        ("delay", _histogram(row.change.delay, stats.measuring)),
        ("turn", _histogram(row.change.turn, stats.measuring)),
        ("callback", _histogram(row.change.callback, stats.measuring)),
        ("longest", f"{seconds(stats.longest.seconds)}  {stats.longest.name}" if stats.longest else "-"),
        ("per second", f"{number(value['turns'])} turns, {number(value['callbacks'])} callbacks"),
        ("bytes", f"{number(value['bytes_in'])}/s in, {number(value['bytes_out'])}/s out"),
        (
            "connections",
            f"{stats.connections} open, {stats.connections_made} made, {stats.writing_paused} paused in writing",
        ),
        ("lost", f"{lost.end} end, {lost.reset} reset, {lost.timeout} timeout, {lost.abort} abort, {lost.error} error"),
        ("accepts", f"{stats.accepts}, {stats.accepts_refused} refused, {stats.accepts_failed} failed"),
        (
            "waiting",
            f"{stats.ready} callbacks, {stats.timers_waiting} timers, {stats.jobs_queued} jobs for {stats.threads} threads",
        ),
        ("children", str(stats.children)),
        ("descriptors", str(stats.descriptors)),
    ]
    return [f"{name:<12} {text}" for name, text in shown]


def _histogram(histogram: Any, measuring: bool) -> str:
    if not histogram.count:
        return "-" if measuring else "not measured yet: that begins when the loop wakes up"
    shown = ", ".join(f"p{percent} {seconds(histogram.percentile(percent))}" for percent in (50, 90, 99))
    return f"{shown}, max {seconds(histogram.max)}"


def seconds(value: float | None) -> str:
    """Return a time with its unit."""
    if value is None:
        return "-"
    if value >= 1.0:
        return f"{value:.1f}s"
    return f"{value * 1e3:.1f}ms" if value >= 1e-3 else f"{value * 1e6:.0f}us"


def number(value: float) -> str:
    """Return a number with k, M or G."""
    for unit in ("", "k", "M"):
        if value < 1000:
            return f"{value:.0f}{unit}" if not unit or value >= 100 else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f}G"
