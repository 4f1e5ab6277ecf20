"""What users of other loops report about processes, descriptors, datagrams and idling, a short test for each report.

Each docstring begins with the report it stands for; test_demand_rows.py holds the list of them.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from counted_calls import counted_calls
from example_process import environment
from few_descriptors import Clients, body, finish, start
from kernel_truth import measured, needs_gcc, needs_strace, open_terminal, system_calls
from recording import Run

Factory = Callable[[], asyncio.AbstractEventLoop]


def test_sigchld_is_left_alone(run: Run) -> None:
    """uvloop #409, #582: SIGCHLD is taken over; PID 1 can't reap. Here the handler and the other children are ours."""
    seen: list[int] = []

    def handler(number: int, frame: object) -> None:
        seen.append(number)

    async def main() -> None:
        orphan = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
        child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 3")
        assert await child.wait() == 3
        assert orphan.wait() == 7
        assert signal.getsignal(signal.SIGCHLD) is handler

    before = signal.signal(signal.SIGCHLD, handler)
    try:
        run(main())
        assert signal.getsignal(signal.SIGCHLD) is handler
        assert signal.SIGCHLD in seen
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_terminal_stays_blocking(loop: asyncio.AbstractEventLoop) -> None:
    """uvloop #712: add_reader on stdin makes the terminal non-blocking."""
    master, slave = open_terminal()
    with open(master, "wb", 0) as keyboard, open(slave, "rb", 0) as stdin:
        flags = fcntl.fcntl(stdin, fcntl.F_GETFL)
        seen: list[tuple[bytes, int]] = []

        def read() -> None:
            seen.append((stdin.readline(), fcntl.fcntl(stdin, fcntl.F_GETFL)))
            loop.stop()

        loop.add_reader(stdin, read)
        keyboard.write(b"typed\n")
        loop.run_forever()
        loop.remove_reader(stdin)
        assert seen == [(b"typed\n", flags)]
        assert not flags & os.O_NONBLOCK
        assert fcntl.fcntl(stdin, fcntl.F_GETFL) == flags


INTERRUPTED = """
import asyncio, edgeloop
async def main():
    try:
        print("ready", flush=True)
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.001)
        print("cleaned up")
try:
    with asyncio.Runner(loop_factory=edgeloop.new_event_loop) as runner:
        runner.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """uvloop #295, #94: Ctrl-C is swallowed or ignored. Here KeyboardInterrupt comes out of run, after the clean-up."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        env=environment(pytestconfig, tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=60)[0] == "cleaned up\ninterrupted\n"
        finally:
            child.kill()


SPAWNING = """
import asyncio, os, edgeloop
called = []
os.register_at_fork(before=lambda: called.append("before"), after_in_parent=lambda: called.append("after"))
async def main():
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()
with asyncio.Runner(loop_factory=edgeloop.new_event_loop) as runner:
    runner.run(main())
print(called)
"""


def test_no_fork_hooks(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """uvloop #749: subprocess runs register_at_fork hooks."""
    done = subprocess.run(
        [sys.executable, "-c", SPAWNING],
        cwd=tmp_path,
        env=environment(pytestconfig, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


async def test_arguments_of_popen() -> None:
    """uvloop #749: close_fds, user, group, umask are rejected."""
    inherited, written = os.pipe()
    os.set_inheritable(written, True)
    child = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        f"umask; id -u; id -g; echo from the child >/proc/self/fd/{written}",
        stdout=subprocess.PIPE,
        close_fds=False,
        user=os.getuid(),
        group=os.getgid(),
        umask=0o027,
    )
    output, _ = await child.communicate()
    os.close(written)
    assert output.split() == [b"0027", b"%d" % os.getuid(), b"%d" % os.getgid()]
    with open(inherited, "rb") as pipe:
        assert pipe.read() == b"from the child\n"


WORKER = """
import asyncio, os, sys, edgeloop
class Tell(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"%d" % os.getpid())
        transport.close()
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Tell, "127.0.0.1", int(sys.argv[1]), reuse_port=True)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
with asyncio.Runner(loop_factory=edgeloop.new_event_loop) as runner:
    runner.run(main())
"""


def test_workers_share_a_port(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """uvicorn-worker #34, uvicorn PR #2472: accept bias between workers; with SO_REUSEPORT each has its own queue."""

    def worker(port: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, str(port)],
            cwd=tmp_path,
            env=environment(pytestconfig, tmp_path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    with worker(0) as one:
        assert one.stdout is not None
        port = int(one.stdout.readline())
        with worker(port) as two:
            assert two.stdout is not None
            assert int(two.stdout.readline()) == port
            answers = set()
            for _ in range(100):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    answers.add(int(client.recv(100)))
            assert answers == {one.pid, two.pid}
            for process in (two, one):
                process.communicate("", timeout=60)
                assert process.returncode == 0


@pytest.mark.edgeloop_only
def test_out_of_descriptors(loop_factory: Factory) -> None:
    """EMFILE: duplicate retries (cpython #151615), clients silently closed (libuv). Here it is told, and not each time."""
    child = start(
        loop_factory,
        body(
            """
            await asyncio.get_running_loop().run_in_executor(None, input)
            print(len(reports), flush=True)
            await until(lambda: len(lost) == len(connections))
            """,
            spare=20,
        ),
    )
    with child:
        assert child.stdout is not None
        clients = Clients(int(child.stdout.readline()), 60)
        try:
            answers = [clients.answer(index) for index in range(60)]
        finally:
            clients.close()
        reports = int(finish(child))
    assert set(answers) == {b"hello", b""}
    assert 1 <= reports < answers.count(b"")


BURSTS = """
import asyncio, edgeloop
class Count(asyncio.DatagramProtocol):
    left = 1000
    def datagram_received(self, data, addr):
        self.left -= 1
        if not self.left:
            done.set_result(None)
async def main():
    global done
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    receiver, _ = await loop.create_datagram_endpoint(Count, local_addr=("127.0.0.1", 0))
    address = receiver.get_extra_info("sockname")
    sender, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    for _ in range(20):
        for _ in range(50):
            sender.sendto(b"x", address)
        await asyncio.sleep(0.001)
    await done
    sender.close()
    receiver.close()
edgeloop.run(main())
"""


@pytest.mark.fair_weather
@needs_gcc
@pytest.mark.edgeloop_only
@measured
def test_datagrams_go_in_batches(tmp_path: Path) -> None:
    """cpython #91487: UDP an order of magnitude below the kernel; here recvmmsg and sendmmsg per turn."""
    import edgeloop

    if edgeloop.EDITION == "pure":
        pytest.skip("Python has no recvmmsg: the pure edition calls recvfrom")
    calls = counted_calls(BURSTS, directory=tmp_path)
    # Of each burst the first leaves by itself, at once, and so do the 64 after which gathering is earned (rule 5). One more
    # does where a garbage collection, say, comes between two of a burst.
    assert 20 + 64 <= calls["sendto"] <= 20 + 64 + 5
    assert calls["sendmmsg"] <= 100
    assert calls["recvmmsg"] <= 250
    assert calls["recvfrom"] == 0


def test_each_datagram_goes_once(tmp_path: Path) -> None:
    """cpython #91487: whatever of a batch the kernel takes, no datagram goes twice and none is left out."""
    import edgeloop

    if edgeloop.EDITION == "pure":
        pytest.skip("Python has no sendmmsg: the pure edition calls sendto")
    calls = system_calls(BURSTS, directory=tmp_path)
    lines = (tmp_path / "strace.log").read_text().splitlines()
    sent = [int(line.rpartition("= ")[2]) for line in lines if line.startswith("sendmmsg(")]
    assert sum(sent) + calls["sendto"] == 20 * 50


async def test_batches_that_go_in_part(tmp_path: Path) -> None:
    """cpython #91487: partial sends exact: a Unix receiver takes some of a batch, and the rest has to wait."""
    path = str(tmp_path / "receiver")
    expected = [b"%d" % number for number in range(500)]

    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setblocking(False)
        receiver.bind(path)
        sender, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=path, family=socket.AF_UNIX
        )
        for data in expected:
            sender.sendto(data)
        assert [await loop.sock_recv(receiver, 100) for _ in expected] == expected
        sender.close()
        await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            receiver.recv(100)  # no datagram came twice


@pytest.mark.fair_weather
def test_one_buffer_a_turn(run: Run) -> None:
    """aiofastnet #62: draining until EAGAIN made aiohttp slower; here others get their turn after each buffer."""
    log: list[str] = []

    class Sips(asyncio.BufferedProtocol):
        left = 50_000

        def get_buffer(self, sizehint: int) -> bytearray:
            return bytearray(1000)

        def buffer_updated(self, nbytes: int) -> None:
            self.left -= nbytes
            log.append("buffer")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(bytes(50_000))
            transport, protocol = await loop.create_connection(Sips, sock=ours)
            while protocol.left:
                log.append("turn")
                await asyncio.sleep(0)
            transport.abort()
            await asyncio.sleep(0)

    run(main())
    assert log.count("buffer") == 50
    assert ("buffer", "buffer") not in itertools.pairwise(log)


IDLE = """
import asyncio, os, {module} as module
async def main():
    loop = asyncio.get_running_loop()
    timers = [loop.call_later(3600 + number / 1000, print) for number in range(10_000)]
    for timer in timers[:1000]:
        timer.cancel()
    await asyncio.sleep(0)
    os.umask(0o123)  # marks the place in the trace
    await asyncio.sleep(1)
    os.umask(0o123)
with asyncio.Runner(loop_factory=module.{name}) as runner:
    runner.run(main())
"""


@needs_strace
def test_idle_with_many_timers(loop_factory: Factory, tmp_path: Path) -> None:
    """idle CPU with many timers: zero wake-ups when nothing is due, counted for a second with 10,000 of them."""
    script = IDLE.format(module=loop_factory.__module__, name=loop_factory.__qualname__)
    assert system_calls(script, directory=tmp_path)["umask"] == 2
    _, between, _ = (tmp_path / "strace.log").read_text().split("umask(0123)")
    calls = [line.partition("(")[0] for line in between.splitlines()[1:]]
    # One long wait without the slack of the thread's timers, and one for what is left; a third, should the clock be set.
    waits = [call for call in calls if call.startswith("epoll_")]
    assert 1 <= len(waits) <= 3, calls
    # Once a thread, not once a wait: its timer slack. CPython up to 3.11 asks for the process with each sleep().
    once = [call for call in calls if call not in {*waits, "brk", "mmap", "munmap"}]
    assert len(once) == len(set(once)) and set(once) <= {"prctl", "getpid"}, calls


def test_unix_server_mode(loop: asyncio.AbstractEventLoop, run: Run, tmp_path: Path) -> None:
    """3.16 create_unix_server(mode=): before, the keyword is as unknown as in asyncio."""
    create: Any = loop.create_unix_server
    path = tmp_path / "socket"

    async def main() -> None:
        server = await create(asyncio.Protocol, str(path), mode=0o600)
        assert path.stat().st_mode & 0o777 == 0o600
        server.close()
        await server.wait_closed()

    if sys.version_info >= (3, 16):
        run(main())
    else:
        with pytest.raises(TypeError, match="mode"):
            run(main())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="python -m asyncio ps came with 3.14")
async def test_asyncio_ps() -> None:
    """asyncio ps/pstree (3.14) works on any loop that runs stock C Tasks: another process reads our tasks."""
    task = asyncio.create_task(asyncio.sleep(60), name="a task to be found")
    await asyncio.sleep(0)
    ps = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "asyncio", "ps", str(os.getpid()), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = (text.decode() for text in await ps.communicate())
    task.cancel()
    if ps.returncode and ("ermission" in errors or "not permitted" in errors):
        pytest.skip("this system lets no process read another's memory")
    assert "a task to be found" in output, errors
