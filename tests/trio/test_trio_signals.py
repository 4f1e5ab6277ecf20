"""Signals while trio is a guest of the loop, with the wake-up descriptor (signal.set_wakeup_fd) owned by either side.

edgeloop claims the descriptor for as long as it runs in the main thread, if nobody has it. So the value for
``host_uses_signal_set_wakeup_fd`` is True, and trio then leaves it alone. With False trio takes it from the loop: that
works too, because a signal that wakes trio wakes the loop, but trio warns, and it gives the descriptor back when it ends.
A guest with False that is started before the loop runs has it first, and the loop leaves it to trio.
docs/projects/trio.md says so to users.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from example_process import environment
from outcome import Outcome

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def wakeup_fd() -> int:
    """signal.get_wakeup_fd, if there were one."""
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd


def start(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *, host_uses: bool) -> asyncio.Future[Any]:
    done: asyncio.Future[Outcome[Any]] = loop.create_future()
    trio.lowlevel.start_guest_run(
        function,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=done.set_result,
        host_uses_signal_set_wakeup_fd=host_uses,
    )
    return done


PROGRAM = """
import asyncio, os, signal, sys
import edgeloop, trio

def owner():
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    # The loop's is a pipe, trio's a socket.
    return "nobody" if fd == -1 else {"pipe": "loop", "socket": "trio"}[os.readlink(f"/proc/self/fd/{fd}").split(":")[0]]

def start(loop, function, host_uses):
    done = loop.create_future()
    trio.lowlevel.start_guest_run(
        function,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=done.set_result,
        host_uses_signal_set_wakeup_fd=host_uses,
    )
    return done

async def in_trio():
    try:
        print("owner:", owner(), flush=True)
        await trio.sleep_forever()
    except BaseException as exc:
        print("trio:", type(exc).__name__)
        raise

def with_a_runner(host_uses):
    # asyncio's Runner has a handler for SIGINT, so trio sets none: it cancels main, and main cancels trio.
    async def main():
        scope = trio.CancelScope()
        async def guest():
            with scope:
                await in_trio()
        done = start(asyncio.get_running_loop(), guest, host_uses)
        try:
            await asyncio.shield(done)
        finally:
            scope.cancel()
            (await done).unwrap()
    edgeloop.run(main())

def without_a_runner(host_uses):
    # trio's own handler for SIGINT: KeyboardInterrupt in trio's main task.
    loop = edgeloop.new_event_loop()
    async def main():
        return (await start(loop, in_trio, host_uses)).unwrap()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()

def before_the_loop_runs(host_uses):
    loop = edgeloop.new_event_loop()
    done = start(loop, in_trio, host_uses)
    try:
        loop.run_until_complete(done).unwrap()
    finally:
        loop.close()

try:
    globals()[sys.argv[1]](sys.argv[2] == "True")
except KeyboardInterrupt:
    print("program: KeyboardInterrupt")
print("afterwards:", owner(), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""

# How the guest is started, host_uses_signal_set_wakeup_fd; then who has the descriptor, and what Ctrl-C is in trio.
CTRL_C = [
    ("with_a_runner", True, "loop", "Cancelled"),
    ("with_a_runner", False, "trio", "Cancelled"),
    ("without_a_runner", True, "loop", "KeyboardInterrupt"),
    ("without_a_runner", False, "trio", "KeyboardInterrupt"),
    ("before_the_loop_runs", True, "loop", "KeyboardInterrupt"),
    ("before_the_loop_runs", False, "trio", "KeyboardInterrupt"),
]


@pytest.mark.parametrize(("how", "host_uses", "owner", "in_trio"), CTRL_C)
def test_ctrl_c(
    request: pytest.FixtureRequest, tmp_path: Path, how: str, host_uses: bool, owner: str, in_trio: str
) -> None:
    """Both sides sleep with nothing to wake them; Ctrl-C reaches trio and then the program."""
    is_edgeloop = request.config.getoption("--loop") == "edgeloop"
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), how, str(host_uses)],
        env=environment(request.config, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], 30)
        first = process.stdout.readline() if ready else ""
        if is_edgeloop:
            assert first == f"owner: {owner}\n"
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert said.splitlines() == [f"trio: {in_trio}", "program: KeyboardInterrupt", "afterwards: nobody True"]
    if is_edgeloop and owner == "trio" and how != "before_the_loop_runs":
        assert "RuntimeWarning: It looks like Trio's signal handling code might have collided" in complaints
    else:
        assert complaints == ""


@pytest.fixture(params=["loop", "trio", "trio before"])
def guest(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop) -> Iterator[Callable[[Any], Any]]:
    """``guest(function)`` runs it in trio as a guest of the loop; the descriptor is the loop's or trio's.

    Afterwards nobody has it.
    """
    assert wakeup_fd() == -1

    def run(function: Callable[..., Any]) -> Any:
        async def main() -> Any:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*signal handling code might have collided", RuntimeWarning)
                done = start(loop, function, host_uses=request.param == "loop")
            return (await done).unwrap()

        if request.param == "trio before":
            return loop.run_until_complete(start(loop, function, host_uses=False)).unwrap()
        return loop.run_until_complete(main())

    yield run
    assert wakeup_fd() == -1


def test_signals_of_both_sides(loop: asyncio.AbstractEventLoop, guest: Callable[[Any], Any]) -> None:
    """A thread sends two hundred signals, for the loop and for trio in turns, each when the one before has arrived."""
    arrived = threading.Semaphore(0)
    counts = {"loop": 0, "trio": 0}

    def arrive(where: str) -> None:
        counts[where] += 1
        arrived.release()

    def send() -> None:
        for number in range(200):
            os.kill(os.getpid(), signal.SIGUSR2 if number % 2 else signal.SIGUSR1)
            assert arrived.acquire(timeout=30), f"signal {number} did not arrive"

    async def in_trio() -> None:
        loop.add_signal_handler(signal.SIGUSR1, arrive, "loop")
        with trio.open_signal_receiver(signal.SIGUSR2) as signals:
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    async for _ in signals:
                        arrive("trio")

                nursery.start_soon(receive)
                await trio.to_thread.run_sync(send)
                nursery.cancel_scope.cancel()

    try:
        guest(in_trio)
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
    assert counts == {"loop": 100, "trio": 100}


@pytest.mark.edgeloop_only
def test_the_loop_s_descriptor_is_left_alone(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        before = wakeup_fd()
        assert before != -1

        async def in_trio() -> None:
            assert wakeup_fd() == before
            await trio.sleep(0.001)

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (await start(loop, in_trio, host_uses=True)).unwrap()
        assert wakeup_fd() == before

    loop.run_until_complete(main())
    assert wakeup_fd() == -1


@pytest.mark.edgeloop_only
def test_trio_warns_when_it_takes_it_and_gives_it_back(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        before = wakeup_fd()

        async def in_trio() -> None:
            assert wakeup_fd() not in (before, -1)

        with pytest.warns(RuntimeWarning, match="host_uses_signal_set_wakeup_fd=True"):
            done = start(loop, in_trio, host_uses=False)
        (await done).unwrap()
        assert wakeup_fd() == before

    loop.run_until_complete(main())
    assert wakeup_fd() == -1


def test_a_host_that_stops_in_the_middle_with_trio_s_descriptor(loop: asyncio.AbstractEventLoop) -> None:
    """It is trio's over the end of one run and the beginning of the next."""

    async def in_trio() -> None:
        loop.stop()
        await trio.sleep(0.001)

    done = start(loop, in_trio, host_uses=False)
    ours = wakeup_fd()
    assert ours != -1
    loop.run_forever()
    assert wakeup_fd() == ours
    loop.run_until_complete(done).unwrap()
    assert wakeup_fd() == -1


@pytest.mark.parametrize("host_uses", [True, False])
def test_in_another_thread_nobody_has_it(loop_factory: LoopFactory, host_uses: bool) -> None:
    """Signals are the main thread's business: there the value makes no difference."""
    found: list[object] = []

    async def in_trio() -> str:
        await trio.sleep(0.001)
        return "done"

    def thread() -> None:
        loop = loop_factory()

        async def main() -> Any:
            return (await start(loop, in_trio, host_uses=host_uses)).unwrap()

        try:
            found.append(loop.run_until_complete(main()))
        except BaseException as exc:
            found.append(exc)
        finally:
            loop.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        worker = threading.Thread(target=thread)
        worker.start()
        worker.join(60)
    assert found == ["done"]
    assert wakeup_fd() == -1
