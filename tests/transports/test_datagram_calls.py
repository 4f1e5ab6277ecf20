"""System calls per datagram."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from counted_calls import counted_calls
from kernel_truth import measured, needs_gcc, needs_strace, system_calls, traced_lines

import edgeloop

pytestmark = [
    pytest.mark.edgeloop_only,
    pytest.mark.fair_weather,
    needs_gcc,
    needs_strace,
    pytest.mark.skipif(edgeloop.EDITION == "pure", reason="Python has no recvmmsg: the pure edition calls recvfrom"),
]

ROUND_TRIPS = """
    import asyncio, sys
    import edgeloop

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport
        def datagram_received(self, data, addr):
            self.transport.sendto(data, addr)

    class Client(asyncio.DatagramProtocol):
        def __init__(self, burst, rounds, done):
            self.burst, self.rounds, self.done = burst, rounds, done
        def connection_made(self, transport):
            self.transport = transport
        def go(self):
            self.left = self.burst
            for _ in range(self.burst):
                self.transport.sendto(b"ping", self.address)
        def datagram_received(self, data, addr):
            self.left -= 1
            if not self.left:
                self.rounds -= 1
                if self.rounds:
                    self.go()
                else:
                    self.done.set_result(None)

    async def main(burst, rounds):
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        local = ("127.0.0.1", 0)
        server, _ = await loop.create_datagram_endpoint(Server, local_addr=local)
        client, protocol = await loop.create_datagram_endpoint(lambda: Client(burst, rounds, done), local_addr=local)
        protocol.address = server.get_extra_info("sockname")
        loop.call_soon(protocol.go)
        await done
        server.close()
        client.close()
        for _ in range(3):  # not a timer's sleep, which may wake early and wait once more
            await asyncio.sleep(0)

    edgeloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


def steady(burst: int, directory: Path, count: Callable[..., Counter[str]] = system_calls) -> Counter[str]:
    """What 20 more rounds add: each a burst and its echo. So few, because a busy machine holds up the longer run."""
    few = count(ROUND_TRIPS, str(burst), "10", directory=directory)
    many = count(ROUND_TRIPS, str(burst), "30", directory=directory)
    many.subtract(few)
    return many


@measured
def test_one_at_a_time(tmp_path: Path) -> None:
    calls = steady(1, tmp_path)
    assert (calls["recvmmsg"], calls["sendto"], calls["sendmmsg"]) == (40, 40, 0)
    assert calls["recvfrom"] == 0
    assert calls["epoll_ctl"] == 0
    assert sum(calls[name] for name in ("epoll_wait", "epoll_pwait", "epoll_pwait2")) <= 40


@measured
def test_a_burst_is_one_call_each_way(tmp_path: Path) -> None:
    """16 datagrams, sent when as many have been received: they leave together."""
    calls = steady(16, tmp_path, counted_calls)
    assert {name: count for name, count in calls.items() if count} == {"sendmmsg": 40, "recvmmsg": 40}


@measured
def test_ten_thousand_in_one_turn(tmp_path: Path) -> None:
    script = """
        import asyncio
        import edgeloop

        async def main():
            loop = asyncio.get_running_loop()
            local = ("127.0.0.1", 0)
            one, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=local)
            two, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=local)
            target = two.get_extra_info("sockname")
            for number in range(10_000):
                one.sendto(b"%d" % number, target)
            one.close()
            two.close()
            await asyncio.sleep(0.01)

        edgeloop.run(main())
    """
    lines = traced_lines(script, "sendmmsg", tmp_path)
    sent = [int(line.rpartition("= ")[2]) for line in lines]
    assert sum(sent) >= 9_900  # the first ones by themselves: gathering is earned
    assert len(lines) < 400
