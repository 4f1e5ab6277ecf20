"""Setups of pipes, endpoints and children in which a call fails half way: nothing is left open, nothing is left running."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator

import pytest
from descriptors import open_descriptors
from pipe_recording import PipeRecorder

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def no_descriptors() -> Iterator[Callable[[int], None]]:
    """``leave(count)`` leaves that many descriptors to be had, until the test ends."""
    held: list[int] = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def leave(count: int) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_descriptors()) + 20, limits[1]))
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            for _ in range(count):
                os.close(held.pop())

    yield leave
    for fd in held:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.edgeloop_only  # asyncio's own keeps the epoll set until the exception is let go of
def test_a_loop_for_which_there_is_no_room(
    loop_factory: Callable[[], Loop], no_descriptors: Callable[[int], None]
) -> None:
    """A descriptor for the epoll set, and none for what wakes it."""
    no_descriptors(1)
    with pytest.raises(OSError) as caught:
        loop_factory()
    os.close(os.dup(0))  # though the exception is kept
    assert caught.value.errno == errno.EMFILE


@pytest.mark.edgeloop_only
def test_a_poller_gives_back_what_it_has(no_descriptors: Callable[[int], None]) -> None:
    from edgeloop.kernel import epoll

    no_descriptors(1)
    with pytest.raises(OSError) as caught:
        epoll.Poller()
    os.close(os.dup(0))  # though the exception, which refers to the frame, is kept
    assert caught.value.errno == errno.EMFILE


@pytest.mark.parametrize("left", range(1, 12))
async def test_a_child_for_which_there_is_no_room(loop: Loop, no_descriptors: Callable[[int], None], left: int) -> None:
    """Whichever of the calls fails that start a child: it works, or raises and leaves nothing behind."""
    await asyncio.sleep(0)
    no_descriptors(left)
    before = open_descriptors()
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "pass", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as exc:
        assert exc.errno == errno.EMFILE
    else:
        await child.communicate()
    await asyncio.sleep(0.01)
    assert open_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.edgeloop_only  # how the child's end is seen is the loop's own
@pytest.mark.parametrize("failing", ["add_reader", "thread"])
async def test_a_child_that_cannot_be_watched_is_killed_and_reaped(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread" if failing == "thread" else "not this one")

    def no_pidfd(pid: int, flags: int = 0) -> int:
        raise OSError(errno.EMFILE, "none left")

    before = open_descriptors()
    with monkeypatch.context() as patches:
        if failing == "thread":
            patches.setattr(os, "pidfd_open", no_pidfd, raising=False)
            patches.setattr(threading.Thread, "start", fail)
        else:
            patches.setattr(type(loop), "add_reader", fail)
        with pytest.raises(RuntimeError):
            await asyncio.create_subprocess_exec("sleep", "1000", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert open_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.edgeloop_only
async def test_no_signal_reaches_who_has_the_number_of_a_child_that_was_reaped(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a pidfd, and reaped by somebody else before the loop looked."""
    signalled: list[tuple[int, int]] = []

    def no_pidfd(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "no such call")

    with monkeypatch.context() as patches:
        patches.setattr(os, "pidfd_open", no_pidfd, raising=False)
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "cat", stdin=subprocess.PIPE, stdout=None, stderr=None
        )
    transport.get_pipe_transport(0).close()  # type: ignore[union-attr]
    await asyncio.sleep(0)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(transport.get_pid(), 0)
    monkeypatch.setattr(os, "kill", lambda *arguments: signalled.append(arguments))
    transport.kill()
    transport.close()
    assert signalled == []
    await transport._wait()  # type: ignore[attr-defined]
    await asyncio.sleep(0.01)


@pytest.mark.edgeloop_only  # asyncio's own keeps the pidfd
def test_a_child_that_outlives_its_loop(loop_factory: Callable[[], Loop]) -> None:
    """Its transport was closed in time; the loop is closed before the child's end is seen."""
    loop = loop_factory()
    transport, _ = loop.run_until_complete(loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "1000"))
    child = transport.get_extra_info("subprocess")
    transport.close()
    loop.close()
    del transport
    assert child.wait() == -signal.SIGKILL


def test_a_pipe_on_a_closed_loop_is_left_alone(loop_factory: Callable[[], Loop]) -> None:
    loop = loop_factory()
    read, write = os.pipe()
    with open(read, "rb", 0) as reading, open(write, "wb", 0) as writing:
        for connecting in (
            loop.connect_read_pipe(asyncio.Protocol, reading),
            loop.connect_write_pipe(asyncio.BaseProtocol, writing),
        ):
            loop.close()
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                connecting.send(None)
        if hasattr(loop, "reactor"):  # asyncio's own transport closes it when it is collected
            assert not reading.closed
            writing.write(b"works")
            assert reading.read(5) == b"works"


@pytest.mark.edgeloop_only
async def test_a_second_direction_for_which_there_is_no_descriptor(
    loop: Loop, no_descriptors: Callable[[int], None]
) -> None:
    """epoll takes a descriptor once: the second transport of a file needs a number of its own."""
    read, write = os.pipe()
    file = open(read, "rb", 0)
    transport, protocol = await loop.connect_read_pipe(PipeRecorder, file)
    no_descriptors(0)
    with pytest.raises(OSError) as caught:
        await loop.connect_read_pipe(PipeRecorder, open(read, "rb", 0, closefd=False))
    assert caught.value.errno == errno.EMFILE
    os.write(write, b"the first goes on")
    await protocol.bytes_in(17)
    transport.close()
    await protocol.lost()
    os.close(write)


def test_a_thread_with_a_small_stack(loop_factory: Callable[[], Loop]) -> None:
    """threading.stack_size(): what a call of the kernel needs must not be taken from there."""
    script = """
        import asyncio, os, socket, sys, threading
        factory = {factory}

        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport
            def datagram_received(self, data, addr):
                self.transport.sendto(data, addr)

        async def main():
            loop = asyncio.get_running_loop()
            read, write = os.pipe()
            os.set_blocking(read, False)
            transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, open(write, "wb", 0))
            transport.write(b"x" * 100_000)
            for _ in range(2000):
                transport.write(b"y" * 20)
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            stream, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            stream.write(b"x" * 1_000_000)
            for _ in range(2000):
                stream.write(b"y" * 20)
            server, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.bind(("127.0.0.1", 0))
            client.setblocking(False)
            for _ in range(64):
                client.sendto(b"z", server.get_extra_info("sockname"))
            for _ in range(64):
                await loop.sock_recv(client, 100)
            piped = streamed = 0
            while piped < 140_000 or streamed < 1_040_000:
                try:
                    piped += len(os.read(read, 1 << 16))
                except BlockingIOError:
                    pass
                try:
                    streamed += len(theirs.recv(1 << 16))
                except BlockingIOError:
                    pass
                await asyncio.sleep(0)
            for each in (transport, stream, server, theirs, client):
                each.close()
            await asyncio.sleep(0.01)
            os.close(read)
            print("done")

        def work():
            loop = factory()
            loop.run_until_complete(main())
            loop.close()

        # Imports take a stack of their own.
        threading.stack_size(512 * 1024)
        # The frames of CPython's debug build are not optimised, and it refuses less than 100 KiB.
        smallest = (256 if hasattr(sys, "gettotalrefcount") else 96) * 1024
        for size in (512 * 1024, smallest):
            threading.stack_size(size)
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    """
    ours = "asyncio.SelectorEventLoop"
    if loop_factory is not asyncio.SelectorEventLoop:
        ours = "__import__('edgeloop').new_event_loop"
    program = textwrap.dedent(script.replace("{factory}", ours))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\ndone\n"), done.stderr
