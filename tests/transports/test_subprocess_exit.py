"""How a child's end is noticed: a pidfd in the epoll set, or a thread where there is none; SIGCHLD stays untouched."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from children import no_children_left
from recording import Run

PIPE = subprocess.PIPE


async def exit_with(code: int) -> int:
    child = await asyncio.create_subprocess_exec("sh", "-c", f"exit {code}")
    return await child.wait()


def test_five_hundred_at_once(run: Run) -> None:
    async def main() -> None:
        read, write = os.pipe()
        children = [
            await asyncio.create_subprocess_exec("sh", "-c", f"read line; exit {number % 256}", stdin=read)
            for number in range(500)
        ]
        os.close(read)
        assert all(child.returncode is None for child in children)
        os.close(write)  # which ends them all
        codes = await asyncio.gather(*(child.wait() for child in children))
        assert codes == [number % 256 for number in range(500)]

    run(main(), limit=300)  # PyPy takes a tenth of a second to start one, on a busy machine
    assert no_children_left()


@pytest.mark.edgeloop_only  # asyncio has one for each before Python 3.12
async def test_no_threads() -> None:
    threads = threading.active_count()
    children = [await asyncio.create_subprocess_exec("cat", stdin=PIPE) for _ in range(5)]
    assert threading.active_count() == threads
    await asyncio.gather(*(child.communicate(b"") for child in children))


def test_sigchld_is_untouched(run: Run) -> None:
    """The disposition stays, and a handler of the program's own is still called."""
    before = signal.getsignal(signal.SIGCHLD)

    async def main() -> None:
        assert await exit_with(1) == 1
        assert signal.getsignal(signal.SIGCHLD) is before
        came: list[int] = []
        signal.signal(signal.SIGCHLD, lambda number, frame: came.append(number))
        try:
            assert await exit_with(2) == 2
            assert came == [signal.SIGCHLD]
        finally:
            signal.signal(signal.SIGCHLD, before)

    run(main())
    assert no_children_left()


async def test_children_of_others_are_left_alone() -> None:
    """A process with duties towards orphans, such as PID 1, reaps them itself."""
    other = subprocess.Popen(["sh", "-c", "exit 42"])
    assert await exit_with(1) == 1
    assert await asyncio.to_thread(other.wait) == 42


def test_in_another_thread(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    results: list[Any] = []

    async def main() -> tuple[int, bytes]:
        child = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        out, _ = await child.communicate(b"in a thread")
        return await exit_with(6), out

    def work() -> None:
        loop = loop_factory()
        try:
            results.append(loop.run_until_complete(main()))
        finally:
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert results == [(6, b"in a thread")]


@pytest.mark.edgeloop_only  # the standard loop asks the policy for a child watcher before Python 3.14
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there are no child watchers from Python 3.14 on")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_child_watcher_is_asked_for(run: Run) -> None:
    class NoWatchers(asyncio.DefaultEventLoopPolicy):
        def get_child_watcher(self) -> Any:
            raise AssertionError("a child watcher was asked for")

    asyncio.set_event_loop_policy(NoWatchers())
    try:
        assert run(exit_with(3)) == 3
    finally:
        asyncio.set_event_loop_policy(None)


def test_reaped_elsewhere(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> int:
        child = await asyncio.create_subprocess_exec("sleep", "1000")
        child.kill()
        os.waitpid(child.pid, 0)  # before the loop can
        return await child.wait()

    with caplog.at_level(logging.WARNING, "asyncio"):
        assert run(main()) == 255
    assert "will report returncode 255" in caplog.text


@pytest.mark.edgeloop_only  # asyncio reports 255 here too
def test_reaped_by_popen(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """The Popen object of get_extra_info may be asked as well: then it knows the exit status."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "1000", stdin=None, stdout=None, stderr=None
        )
        transport.kill()
        transport.get_extra_info("subprocess").wait()
        code: int = await transport._wait()  # type: ignore[attr-defined]
        transport.close()
        return code

    assert run(main()) == -signal.SIGKILL
    assert not caplog.records


@pytest.mark.edgeloop_only  # the standard loop's watchers can't open a pidfd then
async def test_sigchld_ignored() -> None:
    """signal(2): with SIG_IGN nobody becomes a zombie, and no status is kept."""
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert await exit_with(5) == 255
    finally:
        signal.signal(signal.SIGCHLD, previous)


@pytest.mark.edgeloop_only
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EMFILE])
def test_without_pidfd(run: Run, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A kernel or sandbox that refuses pidfd_open(2): a thread for each child waits."""

    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)

    async def main() -> None:
        assert await asyncio.gather(*(exit_with(code) for code in range(10))) == list(range(10))
        child = await asyncio.create_subprocess_exec("sleep", "1000", stdout=PIPE)
        assert any("waitpid" in thread.name for thread in threading.enumerate())
        child.kill()
        assert await child.wait() == -signal.SIGKILL

    run(main())
    assert no_children_left()


@pytest.mark.edgeloop_only
def test_without_pidfd_reaped_elsewhere(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)

    async def main() -> int:
        child = await asyncio.create_subprocess_exec("sleep", "1000")
        child.kill()
        os.waitpid(child.pid, 0)  # before the loop can
        return await child.wait()

    with caplog.at_level(logging.WARNING, "asyncio"):
        assert run(main()) == 255
    assert "will report returncode 255" in caplog.text


@pytest.mark.edgeloop_only
def test_without_pidfd_the_loop_closes_first(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    loop = loop_factory()

    async def start() -> asyncio.SubprocessTransport:
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "1000", stdin=None, stdout=None, stderr=None
        )
        return transport

    transport = loop.run_until_complete(start())
    pid = transport.get_pid()
    (waiting,) = [thread for thread in threading.enumerate() if thread.name == f"edgeloop-waitpid-{pid}"]
    loop.close()
    with caplog.at_level(logging.WARNING, "asyncio"):
        os.kill(pid, signal.SIGKILL)
        waiting.join(60)
    assert f"that handles pid {pid} is closed" in caplog.text
    assert no_children_left()
    transport.close()
    transport.get_extra_info("subprocess").returncode = -signal.SIGKILL
    del transport
    gc.collect()


@pytest.mark.edgeloop_only
async def test_a_pidfd_of_each_child_is_given_back() -> None:
    def pidfds() -> int:
        links = []
        for name in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink(f"/proc/self/fd/{name}"))
            except FileNotFoundError:  # of the listing itself
                continue
        return sum("pidfd" in link for link in links)

    before = pidfds()
    children = [await asyncio.create_subprocess_exec("cat", stdin=PIPE) for _ in range(5)]
    assert pidfds() == before + 5
    await asyncio.gather(*(child.communicate(b"") for child in children))
    assert pidfds() == before


async def test_closing_calls_a_kill_that_somebody_has_put_in_place(loop: asyncio.AbstractEventLoop) -> None:
    transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "cat", stdin=PIPE)
    child = transport.get_extra_info("subprocess")
    calls: list[str] = []
    kill = child.kill

    def counted() -> None:
        calls.append("kill")
        kill()

    child.kill = counted
    transport.close()
    assert await transport._wait() == -signal.SIGKILL  # type: ignore[attr-defined]
    assert calls == ["kill"]
