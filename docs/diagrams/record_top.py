"""Records `python -m edgeloop top` in a real terminal, a pane of tmux: pictures of it and an asciinema recording.

    PYTHONPATH=tests/support python docs/diagrams/record_top.py PID -- python -m edgeloop top

PID is the process whose loop is opened. Each step is a key, and what the screen has to show then. Writes top-table.svg,
top-loop.svg, top-stack.svg and top-tasks.svg beside this file, and docs/top.cast. Needs tmux and rich; the command
needs py-spy, and for the tasks Python 3.14.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text
from tmux_pane import Pane, pane

HERE = Path(__file__).parent
COLUMNS, LINES = 120, 24
#: The key, what the screen has then (PID: the process's number), for how many seconds that is kept, and the picture's name.
STEPS = [
    ("", "h: keys", 4.0, ""),
    ("h", "select a loop", 3.0, ""),
    ("Space", "h: keys", 1.0, ""),
    ("p", "by process", 2.0, ""),
    ("c", "by connections", 3.0, ""),
    ("l", "blocked", 0.1, "top-table"),
    ("c", "by connections", 2.0, ""),
    ("Enter", "descriptors", 4.0, "top-loop"),
    ("t", "tasks of PID", 4.0, "top-tasks"),
    ("Space", "blocked", 0.1, ""),
    ("s", "stack of PID", 4.0, "top-stack"),
    ("Space", "descriptors", 1.0, ""),
    ("Escape", "h: keys", 2.0, ""),
    ("q", "ended with 0", 0.5, ""),
]


class Recording:
    """The screens of a pane, each with the second at which it came."""

    def __init__(self, shown: Pane) -> None:
        self._shown = shown
        self._begin = time.monotonic()
        self.screens: list[tuple[float, str]] = []

    def look(self, seconds: float) -> str:
        """Keep each new screen for so long. Return the last."""
        end = time.monotonic() + seconds
        while True:
            screen = self._shown.screen(colours=True)
            if not self.screens or screen != self.screens[-1][1]:
                self.screens.append((time.monotonic() - self._begin, screen))
            if time.monotonic() > end:
                return screen
            time.sleep(0.05)

    def save(self, path: Path) -> None:
        """Write the recording in asciicast v2, which `asciinema play` shows."""
        lines = [json.dumps({"version": 2, "width": COLUMNS, "height": LINES, "title": "python -m edgeloop top"})]
        for when, screen in self.screens:
            data = "\x1b[H\x1b[2J" + screen.rstrip("\n").replace("\n", "\r\n")
            lines.append(json.dumps([round(when, 3), "o", data]))
        path.write_text("\n".join(lines) + "\n")


def draw(screen: str, path: Path, title: str) -> None:
    """Write the screen as SVG, without the empty lines at its end."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), legacy_windows=False)
    console.print(Text.from_ansi(screen.rstrip()), no_wrap=True, crop=True)
    path.write_text(console.export_svg(title=title))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pid")
    parser.add_argument("command", nargs="+", help="after --")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, pane(Path(folder), COLUMNS, LINES) as shown:
        shown.start(chosen.command, dict(os.environ))
        recording = Recording(shown)
        for key, text, seconds, name in STEPS:
            if key:
                shown.press(key)
            shown.shows(text.replace("PID", chosen.pid))
            screen = recording.look(seconds)
            if name:
                draw(screen, HERE / f"{name}.svg", "python -m edgeloop top")
        recording.save(HERE.parent / "top.cast")


if __name__ == "__main__":
    main()
