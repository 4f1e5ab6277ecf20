"""``python -m edgeloop top [PID]``: the shared loops of this machine, refreshed each second.

In a terminal it is a table with keys, drawn by rich (the extra ``edgeloop[top]``). Elsewhere it prints lines of text, or JSON.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Sequence
from typing import Any

from . import ps
from .looking_inside import stack_of, tasks_of
from .rows import NotWatchedError, Row, Sampler
from .scrolling import Window

USAGE = """\
usage: python -m edgeloop top [PID] [-d SECONDS] [-n COUNT] [--plain | --json]

Shows the loops of this machine that are shared (edgeloop.share), or those of one process, each second or every -d seconds;
-n: so many times. In a terminal there are keys (h lists them); elsewhere, and with --plain, it prints text. --json prints
a list of loops in each line.
"""

KEYS = """\
up, down, j, k, page up, page down, home, end, g, G   select a loop; of a page: what is shown of it
enter   open the loop                   escape, backspace   back to the table
l  by load       d  by delay            c  by connections        r  by bytes a second
b  by how long it is blocked            p  by process            x  by its longest callback
s  its stack, by py-spy                 t  its tasks, by Python 3.14's asyncio
h  these keys                           q  quit"""

ORDERS: dict[str, tuple[str, Callable[[Row], Any]]] = {
    "l": ("load", lambda row: -row.change.utilization),
    "d": ("delay", lambda row: -(row.values()["delay_p99"] or 0.0)),
    "c": ("connections", lambda row: -row.stats.connections),
    "r": ("rate", lambda row: -row.rate(row.change.bytes_in + row.change.bytes_out)),
    "b": ("blocked", lambda row: -row.values()["blocked_for"]),
    "x": ("longest", lambda row: -(row.values()["longest"] or 0.0)),
    "p": ("process", lambda row: (row.shared.pid, row.shared.number)),
}

# A terminal with fewer columns shows the table without these.
WIDE = 110
LEFT_OUT = ("LOOP", "DELAY50", "ACC/S", "CB/S", "LONGEST")

# What terminals send for keys that have no character.
KEY = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])?|.", re.DOTALL)
ESCAPES = {
    **dict.fromkeys(("\x1b[A", "\x1bOA"), "k"),
    **dict.fromkeys(("\x1b[B", "\x1bOB"), "j"),
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~", "g"), "home"),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~", "G"), "end"),
    **dict.fromkeys(("\x1b", "\x7f", "\b"), "back"),
}


# By how many loops these keys move the selection, or by how many screens.
STEPS = {"j": 1, "k": -1, "page down": 1, "page up": -1, "home": -(2**31), "end": 2**31}


class WrongArgumentsError(Exception):
    """The command line can't be understood."""


class Options:
    """What the command line says. Raise WrongArgumentsError if it says nothing of sense."""

    def __init__(self, args: Sequence[str]) -> None:
        self.pid: int | None = None
        self.seconds = 1.0
        self.count: int | None = None
        self.plain = False
        self.json = False
        rest = list(args)
        while rest:
            arg = rest.pop(0)
            if arg in ("-d", "-n"):
                try:
                    value = float(rest.pop(0))
                except (IndexError, ValueError):
                    raise WrongArgumentsError(f"{arg} needs a number") from None
                if not 0.0 < value < 1e6:
                    raise WrongArgumentsError(f"{arg} needs a number above zero")
                if arg == "-d":
                    self.seconds = value
                else:
                    self.count = int(value)
            elif arg == "--plain":
                self.plain = True
            elif arg == "--json":
                self.json = True
            elif arg.startswith("-") or self.pid is not None:
                raise WrongArgumentsError(f"unknown argument {arg}")
            else:
                self.pid = ps.pid_of(arg)


def main(args: Sequence[str]) -> int:
    """Run the command. Return the exit status: 0, 1 if there is no such loop or no rich, 2 for wrong arguments."""
    if {"-h", "--help"} & set(args):
        print(USAGE + "\n" + KEYS)
        return 0
    try:
        options = Options(args)
        if options.json or options.plain or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return _print_on(options)
        return Screen(options).run()
    except WrongArgumentsError as exc:
        print(f"python -m edgeloop top: {exc}\n{USAGE}", end="", file=sys.stderr)
        return 2
    except NotWatchedError as exc:
        print(f"python -m edgeloop top: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    except (OSError, termios.error) as exc:
        if exc.args[0] not in (errno.EPIPE, errno.EIO):
            raise
        ps.give_up_output()  # whoever read it has gone, or the terminal
        return 0


def _print_on(options: Options) -> int:
    sampler = Sampler(options.pid, 10 * options.seconds)
    sampler.rows()
    left = options.count
    while left is None or left > 0:
        time.sleep(options.seconds)
        rows = sorted(sampler.rows(), key=ORDERS["l"][1])
        if options.json:
            print(json.dumps([row.values() for row in rows]), flush=True)
        else:
            print("\n".join([time.strftime("%H:%M:%S"), *ps.lines(rows), ""]), flush=True)
        left = None if left is None else left - 1
    return 0


class Screen:
    """The table in a terminal, and what the keys do to it."""

    def __init__(self, options: Options) -> None:
        try:
            self._rich: dict[str, Any] = {
                name: importlib.import_module(f"rich.{name}") for name in ("console", "live", "panel", "table", "text")
            }
        except ImportError:
            raise NotWatchedError(
                "the table is drawn by rich, which is not installed: pip install 'edgeloop[top]', or use --plain"
            ) from None
        self._console = self._rich["console"].Console()
        self._options = options
        self._sampler = Sampler(options.pid, 10 * options.seconds)
        self._keys = Keys()
        self._rows: list[Row] = []
        self._order = "l"
        self._selected: str | None = None  # the path of a loop's file: the rows change their places
        self._opened = options.pid is not None
        self._page: tuple[str, str] | None = None  # title and text of what a key has asked for
        self._window = Window()  # of the table
        self._text_window = Window()  # of the page, or of the loop that is open: each begins at its top

    def run(self) -> int:
        """Show it until ``q`` is pressed. Return the exit status."""
        settings = termios.tcgetattr(0)
        left = self._options.count
        self._look()
        try:
            tty.setcbreak(0)
            with self._rich["live"].Live(self.drawn(), console=self._console, screen=True, auto_refresh=False) as live:
                due = time.monotonic() + self._options.seconds
                while True:
                    pressed = self._keys.next(max(due - time.monotonic(), 0.0))
                    if pressed == "q" or (pressed is not None and not self.press(pressed)):
                        return 0
                    if time.monotonic() >= due:
                        due = time.monotonic() + self._options.seconds
                        left = None if left is None else left - 1
                        if left == 0:
                            return 0
                        self._look()
                    live.update(self.drawn(), refresh=True)
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, settings)

    def _look(self) -> None:
        self._rows = self._sampler.rows()
        self._sort()

    def _sort(self) -> None:
        self._rows.sort(key=ORDERS[self._order][1])
        if self._rows and self._selected not in [row.shared.path for row in self._rows]:
            self._selected = self._rows[0].shared.path

    def _current(self) -> Row | None:
        return next((row for row in self._rows if row.shared.path == self._selected), None)

    def press(self, key: str) -> bool:
        """Do what a key means. Return False if that is to quit."""
        if self._page is not None:
            if not self._text_window.move(key, self._room()):
                self._open_page(None)  # any other key goes back
            return key != "q"
        row = self._current()
        if key in ORDERS:
            self._order = key
            self._sort()
        elif self._opened and key not in ("j", "k") and self._text_window.move(key, self._room()):
            pass
        elif key in STEPS and row is not None:
            place = self._rows.index(row) + STEPS[key] * (self._room() if key.startswith("page") else 1)
            self._select(self._rows[min(max(place, 0), len(self._rows) - 1)])
        elif key in ("\n", "\r") and row is not None:
            self._open(True)
        elif key == "back":
            self._open(False)
        elif key == "s" and row is not None:
            self._open_page((f"stack of {row.shared.pid}", stack_of(row.shared.pid)))
        elif key == "t" and row is not None:
            self._open_page((f"tasks of {row.shared.pid}", tasks_of(row.shared.pid)))
        elif key in ("h", "?"):
            self._open_page(("keys", KEYS))
        return key != "q"

    def _select(self, row: Row) -> None:
        self._selected = row.shared.path
        self._text_window = Window()

    def _open(self, opened: bool) -> None:
        self._opened = opened
        self._text_window = Window()

    def _open_page(self, page: tuple[str, str] | None) -> None:
        self._page = page
        self._text_window = Window()

    def _room(self) -> int:
        # Lines, without the title, the columns' names and the last line; without the borders.
        height: int = self._console.height
        return max(height - (2 if self._page is not None or self._opened else 3), 1)

    def _panel(self, title: str, text: str, keys: str) -> Any:
        # What fits, and in the title which lines these are if that isn't all.
        room = self._room()
        lines = self._rich["text"].Text(text).wrap(self._console, max(self._console.width - 4, 1))
        shown = self._text_window.shown(len(lines), room)
        if len(shown) < len(lines):
            title = f"{title}: lines {shown.start + 1} to {shown.stop} of {len(lines)}"
        part = self._rich["text"].Text("\n").join([lines[place] for place in shown])
        return self._rich["panel"].Panel(part, title=title, subtitle=keys)

    def drawn(self) -> Any:
        """Return what rich draws now."""
        text = self._rich["text"].Text
        if self._page is not None:
            return self._panel(*self._page, "any other key: back")
        row = self._current()
        if self._opened and row is not None:
            return self._panel(f"loop {row.stats.loop}", "\n".join(ps.details(row)), "s t  escape  h q")
        place = 0 if row is None else self._rows.index(row)
        shown = self._window.around(place, len(self._rows), self._room())
        part = f" ({shown.start + 1} to {shown.stop})" if len(shown) < len(self._rows) else ""
        table = self._rich["table"].Table(
            title=f"loops: {len(self._rows)}{part}, by {ORDERS[self._order][0]}",
            caption="h: keys",
            expand=True,
            box=None,
        )
        columns = [column for column in ps.COLUMNS if self._console.width >= WIDE or column not in LEFT_OUT]
        for column in columns:
            is_text = column in ("STATE", "COMMAND")
            width = max(len(ps.cells(each)[ps.COLUMNS.index(column)]) for each in self._rows) if self._rows else 0
            table.add_column(
                column,
                justify="left" if is_text else "right",
                no_wrap=True,
                min_width=None if column == "COMMAND" else max(width, len(column)),
                ratio=1 if column == "COMMAND" else None,
            )
        for each in self._rows[shown.start : shown.stop]:
            colour = {"blocked": "red", "busy": "yellow", "idle": "", "stopped": "dim", "suspended": "dim"}[each.state]
            chosen = " reverse" if each.shared.path == self._selected else ""
            cells = dict(zip(ps.COLUMNS, ps.cells(each), strict=True))
            table.add_row(*[text(cells[column]) for column in columns], style=(colour + chosen).strip())
        return table


class Keys:
    """The keys that are pressed, in their order: several may come at once."""

    def __init__(self) -> None:
        self._typed = ""

    def next(self, timeout: float) -> str | None:
        """Return the next key that is pressed within ``timeout`` seconds: its character, or "back"; None: none was."""
        if not self._typed:
            if not select.select([0], [], [], timeout)[0]:
                return None
            self._typed = os.read(0, 64).decode(errors="replace")
        key = KEY.match(self._typed)
        if key is None:
            return "q"  # the terminal is gone
        self._typed = self._typed[key.end() :]
        return ESCAPES.get(key[0], key[0][0])
