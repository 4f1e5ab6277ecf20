"""add_reader and add_writer on pipes and terminals."""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios

from kernel_truth import open_terminal


def test_the_callers_flags_stay(loop: asyncio.AbstractEventLoop) -> None:
    read, write = os.pipe()
    with open(read, "rb"), open(write, "wb"):
        before = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (read, write)]
        loop.add_reader(read, print)
        loop.add_writer(write, loop.stop)
        loop.run_forever()
        assert [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (read, write)] == before
        loop.remove_reader(read)
        loop.remove_writer(write)
        assert [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (read, write)] == before


def test_a_terminal_keeps_blocking(loop: asyncio.AbstractEventLoop) -> None:
    """A shell that shares the terminal would see the change of O_NONBLOCK."""
    master, slave = open_terminal()
    with open(master, "wb", buffering=0) as terminal, open(slave, "rb", buffering=0) as stdin:
        attributes = termios.tcgetattr(stdin)
        flags = fcntl.fcntl(stdin, fcntl.F_GETFL)
        lines: list[bytes] = []

        def read_line() -> None:
            lines.append(stdin.readline())
            loop.stop()

        loop.add_reader(stdin, read_line)
        terminal.write(b"typed\n")
        loop.run_forever()
        loop.remove_reader(stdin)
        assert lines == [b"typed\n"]
        assert fcntl.fcntl(stdin, fcntl.F_GETFL) == flags
        assert not flags & os.O_NONBLOCK
        assert termios.tcgetattr(stdin) == attributes


def test_the_end_of_a_pipe(loop: asyncio.AbstractEventLoop) -> None:
    read, write = os.pipe()
    try:
        got: list[bytes] = []

        def at_end() -> None:
            got.append(os.read(read, 10))
            loop.stop()

        loop.add_reader(read, at_end)
        os.close(write)
        loop.run_forever()
        assert got == [b""]
        assert loop.remove_reader(read) is True
    finally:
        os.close(read)
