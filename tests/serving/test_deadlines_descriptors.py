"""Without a free descriptor the connections that were idle longest are ended first, if there is an idle_timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from few_descriptors import Clients, finish, start

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have no limits

PROGRAM = """
from set_clock import SetClock, pass_time

async def line():
    return await asyncio.get_running_loop().run_in_executor(None, input)

async def main():
    loop = asyncio.get_running_loop()
    asyncio.get_running_loop().set_exception_handler(keep)
    server = await loop.create_server(Hello, "127.0.0.1", 0, backlog=100, idle_timeout=80)
    await loop.run_in_executor(None, int)  # the thread that reads lines
    limit_to(20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await line()
    await pass_time({idle})
    print("idle", flush=True)
    await line()
    old = connections[:15]
    print(sum(one in lost for one in old), sum(one in lost for one in connections[15:]),
          server.status().timed_out["idle"], flush=True)
    await line()
    server.close()

with asyncio.Runner(loop_factory=SetClock) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("idle", [30, 5])
def test_who_was_idle_longest_makes_room(loop_factory: Callable[[], asyncio.AbstractEventLoop], idle: int) -> None:
    """But for those that were idle for less than a quarter of the timeout: new clients are turned away then."""
    child = start(loop_factory, PROGRAM.format(idle=idle))
    with child:
        assert child.stdout is not None and child.stdin is not None
        port = int(child.stdout.readline())
        first = Clients(port, 15)
        assert [first.answer(index) for index in range(15)] == [b"hello"] * 15
        print(file=child.stdin, flush=True)
        assert child.stdout.readline() == "idle\n"
        second = Clients(port, 50)
        answers = [second.answer(index) for index in range(50)]
        print(file=child.stdin, flush=True)
        old_lost, new_lost, counted = map(int, child.stdout.readline().split())
        served = answers.count(b"hello")
        assert set(answers) == {b"hello", b""}
        assert new_lost == 0
        if idle == 30:
            assert old_lost == counted == 15
            assert served >= 15
        else:
            assert old_lost == counted == 0
            assert served < 15
        first.close()
        second.close()
        finish(child)


ONE_WAITS = """
import signal
from set_clock import SetClock, pass_time

signal.alarm(60)

async def until(predicate):
    while not predicate():
        await asyncio.sleep(0)  # time stands still

async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(keep)
    server = await loop.create_server(Hello, "127.0.0.1", 0, backlog=100, idle_timeout=80)
    server.status()
    print(server.sockets[0].getsockname()[1], flush=True)
    await until(lambda: len(connections) == 5)
    limit_to(1)
    while True:
        try:
            os.open(os.devnull, os.O_RDONLY)
        except OSError:
            break
    await pass_time(30)
    print("full", flush=True)
    await until(lambda: len(connections) == 6)
    print(len(lost), server.status().timed_out["idle"], flush=True)
    server.close()

with asyncio.Runner(loop_factory=SetClock) as runner:
    runner.run(main())
"""


def test_a_client_that_waits_alone_is_served_when_others_have_made_room(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """No event tells of it again."""
    child = start(loop_factory, ONE_WAITS)
    with child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        first = Clients(port, 5)
        assert child.stdout.readline() == "full\n"
        second = Clients(port, 1)
        assert second.answer(0) == b"hello"
        assert child.stdout.readline() == "5 5\n"
        first.close()
        second.close()
        finish(child, "")
