"""subprocess_exec and subprocess_shell with real children: their streams, their protocol, their transport."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children import no_children_left
from recording import Run

PIPE = subprocess.PIPE


class ChildRecorder(asyncio.SubprocessProtocol):
    """Remembers the calls in order."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.output = {1: bytearray(), 2: bytearray()}
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("connection_made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.calls.append(("data", fd))
        self.output[fd] += data

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.calls.append(("lost", fd))

    def process_exited(self) -> None:
        self.calls.append("process_exited")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("connection_lost")
        self.over.set_result(None)


def test_streams(run: Run) -> None:
    async def main() -> None:
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", "cat; echo oops >&2; exit 3", stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert await child.communicate(b"in and out") == (b"in and out", b"oops\n")
        assert child.returncode == 3
        assert await child.wait() == 3

    run(main())
    assert no_children_left()


async def test_shell() -> None:
    child = await asyncio.create_subprocess_shell("echo $((6 * 7)) | tr 4 5; exit 7", stdout=PIPE)
    out, _ = await child.communicate()
    assert out == b"52\n"
    assert child.returncode == 7


async def test_twenty_megabytes_through_a_child() -> None:
    data = os.urandom(1 << 20) * 20

    child = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    out, _ = await child.communicate(data)
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()
    assert child.returncode == 0


async def test_dialogue() -> None:
    child = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    for line in (b"one\n", b"two\n"):
        child.stdin.write(line)
        assert await child.stdout.readline() == line
    child.stdin.close()
    await child.stdin.wait_closed()
    assert await child.stdout.read() == b""
    assert await child.wait() == 0


async def test_order_of_the_callbacks() -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        ChildRecorder, "sh", "-c", "echo out; echo err >&2; read line", stdin=PIPE
    )
    assert protocol.calls[0] == "connection_made"
    assert isinstance(transport, asyncio.SubprocessTransport)
    stdin: Any = transport.get_pipe_transport(0)
    assert isinstance(stdin, asyncio.WriteTransport)
    assert isinstance(transport.get_pipe_transport(1), asyncio.ReadTransport)
    assert transport.get_pipe_transport(3) is None
    stdin.write(b"go\n")
    await protocol.over
    calls = protocol.calls
    assert calls[-1] == "connection_lost"
    assert bytes(protocol.output[1]) == b"out\n"
    assert bytes(protocol.output[2]) == b"err\n"
    for fd in (1, 2):
        assert calls.index(("data", fd)) < calls.index(("lost", fd))
    assert calls.count("process_exited") == calls.count(("lost", 0)) == calls.count("connection_lost") == 1
    assert transport.get_returncode() == 0
    transport.close()


async def test_transport() -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        ChildRecorder, "sleep", "1000", stdin=None, stdout=None, stderr=None
    )
    pid = transport.get_pid()
    os.kill(pid, 0)
    assert transport.get_returncode() is None
    assert transport.get_protocol() is protocol
    assert transport.get_extra_info("subprocess").pid == pid
    assert transport.get_pipe_transport(1) is None
    assert f"pid={pid} running" in repr(transport)
    assert not transport.is_closing()
    transport.terminate()
    await protocol.over
    assert transport.get_returncode() == -signal.SIGTERM
    assert f"pid={pid} returncode=-15" in repr(transport)
    for call in (transport.kill, transport.terminate, lambda: transport.send_signal(signal.SIGHUP)):
        with pytest.raises(ProcessLookupError):
            call()
    transport.close()
    assert transport.is_closing()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
async def test_killed_by_a_signal(number: int) -> None:
    child = await asyncio.create_subprocess_exec("sleep", "1000")
    child.send_signal(number)
    assert await child.wait() == -number


async def test_caught_signal() -> None:
    script = "trap 'exit 9' INT; echo ready; while :; do sleep 0.01; done"
    child = await asyncio.create_subprocess_exec("sh", "-c", script, stdout=PIPE)
    assert child.stdout is not None
    await child.stdout.readline()
    child.send_signal(signal.SIGINT)
    assert await child.wait() == 9


def test_close_kills(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(ChildRecorder, "cat")
        transport.close()
        transport.close()
        await protocol.over
        assert transport.get_returncode() == -signal.SIGKILL
        assert {("lost", 0), ("lost", 1), ("lost", 2)} < set(protocol.calls)

    run(main())
    assert no_children_left()


async def test_close_kills_nobody_who_has_ended() -> None:
    """A number that is free again may belong to a stranger."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(ChildRecorder, "true")
    await protocol.over
    transport.close()
    assert transport.get_returncode() == 0


async def test_the_reader_of_stdin_ends() -> None:
    child = await asyncio.create_subprocess_exec("true", stdin=PIPE)
    assert child.stdin is not None
    with pytest.raises((BrokenPipeError, ConnectionResetError)):  # which one depends on who notices first
        while True:
            child.stdin.write(b"x" * 65536)
            await child.stdin.drain()
    await child.wait()
    child = await asyncio.create_subprocess_exec("true", stdin=PIPE)
    await child.communicate(b"x" * 10_000_000)


async def test_many_waits_and_a_cancelled_one() -> None:
    child = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
    waits = [asyncio.ensure_future(child.wait()) for _ in range(10)]
    await asyncio.sleep(0)
    waits[0].cancel()
    assert child.stdin is not None
    child.stdin.close()
    assert await asyncio.gather(*waits[1:]) == [0] * 9


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_cancelled_while_starting(run: Run, turns: int) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(
            asyncio.create_subprocess_exec("sleep", "1000", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(main())
    gc.collect()
    assert no_children_left()


@pytest.mark.edgeloop_only  # asyncio waited for the pipes too, until gh-119710 (2026)
async def test_wait_is_for_the_child_and_not_for_who_has_its_pipes() -> None:
    child = await asyncio.create_subprocess_exec("sh", "-c", "sleep 1000 & echo $!; exit 5", stdin=PIPE, stdout=PIPE)
    assert child.stdout is not None
    grandchild = int(await child.stdout.readline())
    assert await child.wait() == 5
    os.kill(grandchild, signal.SIGKILL)
    assert await child.stdout.read() == b""


async def test_stdout_to_stderr_and_files(tmp_path: Path) -> None:
    with open(tmp_path / "in", "w+b") as file, open(tmp_path / "out", "w+b") as out:
        file.write(b"from a file")
        file.seek(0)
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", "cat; echo err >&2", stdin=file, stdout=out, stderr=subprocess.STDOUT
        )
        assert await child.wait() == 0
        out.seek(0)
        assert out.read() == b"from a fileerr\n"
    child = await asyncio.create_subprocess_exec(
        "sh", "-c", "cat; echo err >&2", stdin=subprocess.DEVNULL, stdout=PIPE, stderr=subprocess.STDOUT
    )
    out_and_err, _ = await child.communicate()
    assert out_and_err == b"err\n"


async def test_data_survives_the_exit() -> None:
    """What a child wrote is read after it has ended, however slowly."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('x' * 60000)", stdout=PIPE, limit=100)
    await asyncio.wait({asyncio.ensure_future(child.wait())}, timeout=0.5)
    assert child.stdout is not None
    received = 0
    while part := await child.stdout.read(50):
        received += len(part)
    assert received == 60001
    assert await child.wait() == 0


@pytest.mark.edgeloop_only  # the standard loop leaves a pidfd open
def test_loop_closed_while_the_child_runs(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop = loop_factory()

    async def start() -> asyncio.SubprocessTransport:
        transport, _ = await loop.subprocess_exec(ChildRecorder, "sleep", "1000", stdin=None, stdout=None, stderr=None)
        return transport

    transport = loop.run_until_complete(start())
    pid = transport.get_pid()
    loop.close()
    transport.close()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    transport.get_extra_info("subprocess").returncode = -signal.SIGKILL
    del transport
    gc.collect()
