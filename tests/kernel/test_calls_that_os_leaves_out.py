"""System calls that PyPy's os module leaves out, and that of a CPython built on an old system: the C library makes them."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import subprocess
import sys

import pytest

import edgeloop
from edgeloop.kernel import os_calls
from edgeloop.kernel.epoll import Poller

pytestmark = pytest.mark.edgeloop_only  # it is the loop's own

CALLS = ((os, "eventfd"), (os, "pidfd_open"), (os, "waitid"), (signal, "pidfd_send_signal"))


@pytest.fixture(params=["as it is", "left out"], autouse=True)
def os_module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "left out":
        for module, name in CALLS:
            monkeypatch.delattr(module, name, raising=False)


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "100"])


def test_an_eventfd_doesnt_block_and_is_closed_by_exec() -> None:
    fd = os_calls.new_eventfd()
    try:
        assert not os.get_blocking(fd)
        assert not os.get_inheritable(fd)
        with pytest.raises(BlockingIOError):
            os.read(fd, 8)
        os.write(fd, (3).to_bytes(8, sys.byteorder))
        assert os.read(fd, 8) == (3).to_bytes(8, sys.byteorder)
    finally:
        os.close(fd)


def test_a_poller_is_woken_again_and_again() -> None:
    poller = Poller()
    for _ in range(3):
        poller.wake()
        assert poller.wait(60) == 1
    assert poller.wait(0) == 0
    poller.close()


def test_a_pidfd_tells_of_the_end_that_it_was_sent() -> None:
    with sleeper() as child:
        pidfd = os_calls.pidfd_open(child.pid)
        try:
            assert not os.get_inheritable(pidfd)
            assert select.select([pidfd], [], [], 0)[0] == []
            assert not os_calls.has_ended(child.pid)
            os_calls.pidfd_send_signal(pidfd, signal.SIGTERM)
            assert select.select([pidfd], [], [], 60)[0] == [pidfd]
            os_calls.wait_until_ended(child.pid)
            assert os_calls.has_ended(child.pid)
            assert child.wait() == -signal.SIGTERM  # the status is still there
            with pytest.raises(ChildProcessError):
                os_calls.has_ended(child.pid)
            with pytest.raises(ChildProcessError):
                os_calls.wait_until_ended(child.pid)
            with pytest.raises(ProcessLookupError):
                os_calls.pidfd_send_signal(pidfd, 0)
        finally:
            os.close(pidfd)


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 200", 200), ("kill -TERM $$", -signal.SIGTERM)])
def test_a_child_that_has_ended_is_reaped_once(command: str, code: int) -> None:
    child = subprocess.Popen(command, shell=True)
    os_calls.wait_until_ended(child.pid)
    assert os_calls.reap(child.pid) == code
    with pytest.raises(ChildProcessError):
        os_calls.reap(child.pid)
    child.returncode = code


def test_a_child_that_runs_is_not_reaped() -> None:
    with sleeper() as child:
        assert os_calls.reap(child.pid) is None
        child.kill()
        assert child.wait() == -signal.SIGKILL


def test_a_child_that_there_is_not_has_no_pidfd() -> None:
    with pytest.raises(OSError) as failure:
        os_calls.pidfd_open(2**22 + 1)  # above what pid_max may be
    assert failure.value.errno == errno.ESRCH


def test_a_loop_runs_a_child_and_signals_it() -> None:
    async def main() -> None:
        child = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert (await child.communicate(b"hello"))[0] == b"hello"
        assert child.returncode == 0
        child = await asyncio.create_subprocess_exec("sleep", "100")
        child.terminate()
        assert await child.wait() == -signal.SIGTERM

    edgeloop.run(asyncio.wait_for(main(), 60))


def test_a_thread_that_waits_for_a_child_lets_the_loop_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os_calls, "pidfd_open", refuse)

    async def main() -> None:
        child = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE)
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert child.returncode is None
        await child.communicate(b"")
        assert child.returncode == 0

    edgeloop.run(asyncio.wait_for(main(), 60))
