"""A process whose loop is shared, and ``python -m edgeloop top`` in a terminal that looks at it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_process import environment
from kernel_truth import open_terminal
from repository import ROOT

# The loop stands still when a line comes, and goes on with the next.
PROGRAM = """
import asyncio, sys, edgeloop

async def main():
    loop = asyncio.get_running_loop()
    edgeloop.share(loop)
    with edgeloop.measure(loop):
        kept = []
        server = await asyncio.start_server(lambda *streams: kept.append(streams), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        commands = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), open(0, "rb", 0, closefd=False))
        print("ready", flush=True)
        async def block():
            await commands.readline()
            print("blocked", flush=True)
            release.readline()
            await asyncio.sleep(3600)
        release = open(int(sys.argv[1]))
        await asyncio.create_task(block(), name="blocker")

edgeloop.run(main())
"""


def environment_of_top(config: pytest.Config, folder: Path) -> dict[str, str]:
    """Variables for both programs: an xterm of 120 columns, and a runtime folder of their own."""
    runtime = folder / "runtime"
    runtime.mkdir()
    return {
        **environment(config, folder),
        "XDG_RUNTIME_DIR": str(runtime),
        "TERM": "xterm",
        "COLUMNS": "120",
    }


class Watched:
    """A process whose loop is shared."""

    def __init__(self, env: dict[str, str]) -> None:
        reading, self._release = os.pipe()
        with open(reading, "rb"):
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(reading)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=[reading],
                env=env,
            )
        self.pid = self.process.pid
        self.expect("ready")

    def expect(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"

    def block(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.expect("blocked")

    def end(self) -> None:
        os.close(self._release)
        self.process.kill()
        self.process.communicate()


class Terminal:
    """``python -m edgeloop top`` in a terminal of 120 columns."""

    def __init__(self, env: dict[str, str], *arguments: str) -> None:
        self._fd, self.end = open_terminal()
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("4H", 30, 120, 0, 0))
        self.settings = termios.tcgetattr(self.end)
        command = [sys.executable, "-m", "edgeloop", "top", *arguments]
        self.process = subprocess.Popen(
            command, stdin=self.end, stdout=self.end, stderr=subprocess.PIPE, env=env, cwd=ROOT, text=True
        )

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def shows(self, text: str) -> str:
        """Read until the text has come; return what has."""
        seen = ""
        while text not in seen:
            assert select.select([self._fd], [], [], 30)[0], f"{text!r} is not in {seen!r}"
            seen += os.read(self._fd, 65536).decode(errors="replace")
        return seen

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self._fd)
        os.close(self.end)


@contextlib.contextmanager
def terminal(env: dict[str, str], *arguments: str) -> Iterator[Terminal]:
    shown = Terminal(env, *arguments)
    try:
        yield shown
    finally:
        shown.close()
