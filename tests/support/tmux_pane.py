"""A program in a pane of tmux: keys are sent, the screen is read."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

#: What would tell the program of another terminal.
UNWANTED = ("TERM", "TMUX", "COLUMNS", "LINES")

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed here")


class Pane:
    """The only pane of a tmux server of its own, whose socket is in ``folder``."""

    def __init__(self, folder: Path, columns: int, lines: int) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(folder / "tmux")]
        self._size = ["-x", str(columns), "-y", str(lines)]

    def tell(self, *words: str) -> str:
        """Carry out a command of tmux and return its output."""
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True, timeout=60).stdout

    def start(self, command: Sequence[str], env: dict[str, str]) -> None:
        """Run the program. The pane stays when it has ended, and shows its exit status."""
        with_env = ["env", "-i", *(f"{name}={value}" for name, value in env.items() if name not in UNWANTED)]
        line = f"{shlex.join([*with_env, 'TERM=screen-256color', *command])}; echo ended with $?; read"
        subprocess.run([*self._tmux, "new-session", "-d", *self._size, line], check=True, env=os.environ, timeout=60)

    def press(self, *keys: str) -> None:
        """Send keys by tmux's names: ``c``, ``Enter``, ``Escape``, ``Down``."""
        self.tell("send-keys", *keys)

    def screen(self, *, colours: bool = False) -> str:
        """Return the lines that are on the screen now."""
        return self.tell("capture-pane", "-p", *(["-e"] if colours else []))

    def shows(self, text: str, *, without: str | None = None) -> str:
        """Wait until the screen has the text, and not the other one. Return the screen."""
        end = time.monotonic() + 60
        while text not in (screen := self.screen()) or (without is not None and without in screen):
            assert time.monotonic() < end, f"{text!r} without {without!r} is not on the screen:\n{screen}"
            time.sleep(0.02)
        return screen

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True, timeout=60)


@contextmanager
def pane(folder: Path, columns: int = 120, lines: int = 30) -> Iterator[Pane]:
    """A pane that is closed at the end."""
    made = Pane(folder, columns, lines)
    try:
        yield made
    finally:
        made.close()
