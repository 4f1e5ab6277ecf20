"""Children that end while a program still has to do with them, and transports that nobody closed."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from interpreters import needs_waitid

PIPE = asyncio.subprocess.PIPE


class Child(asyncio.SubprocessProtocol):
    def __init__(self) -> None:
        self.output = b""
        self.exited = asyncio.Event()
        self.over = asyncio.Event()
        self.reads = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.output += data
        self.reads.set()

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


async def start(*command: str, **streams: Any) -> tuple[Any, Child]:
    streams = {"stdin": None, "stdout": None, "stderr": None, **streams}
    return await asyncio.get_running_loop().subprocess_exec(Child, *command, **streams)


async def test_a_signal_for_a_child_that_has_ended_is_no_error() -> None:
    """Its pipe keeps the transport: another process has the other end."""
    transport, protocol = await start("sh", "-c", "sleep 1000 & echo $!; exit 5", stdout=PIPE)
    await protocol.exited.wait()
    await protocol.reads.wait()
    transport.send_signal(signal.SIGUSR1)
    transport.kill()
    assert transport.get_returncode() == 5
    os.kill(int(protocol.output), signal.SIGKILL)
    await protocol.over.wait()
    with pytest.raises(ProcessLookupError):
        transport.send_signal(signal.SIGUSR1)
    transport.close()


@pytest.mark.edgeloop_only  # asyncio's Popen looks first, and takes the status that somebody else has taken for 0
async def test_a_signal_for_a_child_that_somebody_else_has_reaped_is_no_error() -> None:
    transport, protocol = await start("sleep", "1000")
    os.kill(transport.get_pid(), signal.SIGKILL)
    os.waitpid(transport.get_pid(), 0)
    transport.send_signal(signal.SIGUSR1)
    await protocol.over.wait()
    assert transport.get_returncode() == 255
    transport.close()


async def test_another_protocol_gets_what_follows() -> None:
    transport, protocol = await start("cat", stdin=PIPE, stdout=PIPE)
    other = Child()
    transport.set_protocol(other)
    assert transport.get_protocol() is other
    transport.get_pipe_transport(0).write(b"hello")
    transport.get_pipe_transport(0).close()
    await other.over.wait()
    assert other.output == b"hello"
    assert protocol.output == b""
    assert not protocol.over.is_set()
    transport.close()


@pytest.mark.edgeloop_only  # the standard loop leaves a pidfd open
@pytest.mark.counts_references
def test_a_child_that_nobody_closed_is_warned_of_and_killed(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    loop = loop_factory()
    transport, _ = loop.run_until_complete(start_on(loop))
    pid = transport.get_pid()
    popen = transport.get_extra_info("subprocess")
    loop.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport
        gc.collect()
    assert [str(each.message)[:18] for each in caught if "unclosed transport" in str(each.message)] == [
        "unclosed transport"
    ]
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    popen.returncode = -signal.SIGKILL


async def start_on(loop: asyncio.AbstractEventLoop) -> tuple[Any, Child]:
    return await start(sys.executable, "-c", "import time; time.sleep(1000)")


@needs_waitid
async def test_who_gives_up_as_the_child_ends_ends_nobody_else() -> None:
    child = await asyncio.create_subprocess_exec("sleep", "1000")
    one, other = (asyncio.get_running_loop().create_task(child.wait()) for _ in range(2))
    await asyncio.sleep(0.001)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and the loop does not know it yet
    one.cancel()
    assert await other == -signal.SIGKILL
    with pytest.raises(asyncio.CancelledError):
        await one
