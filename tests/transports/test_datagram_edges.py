"""Datagram sockets and the rules of edge triggering (docs/edges.md)."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datagram_endpoints import LOCAL, DatagramRecorder, endpoint, name_of, plain_socket
from kernel_truth import EDGE, IN, OUT, epoll_set, needs_strace, system_calls

pytestmark = pytest.mark.edgeloop_only


def mask_of(loop: asyncio.AbstractEventLoop, transport: asyncio.DatagramTransport) -> int:
    return epoll_set(loop)[transport.get_extra_info("socket").fileno()]


async def test_registered_for_edges_and_never_changed_by_pauses(loop: asyncio.AbstractEventLoop) -> None:
    """Rules 1 and 7."""
    async with endpoint() as (transport, _):
        reading: Any = transport
        before = mask_of(loop, transport)
        assert before & EDGE
        assert before & IN
        assert not before & OUT
        reading.pause_reading()
        assert mask_of(loop, transport) == before
        reading.resume_reading()
        assert mask_of(loop, transport) == before
    assert transport.get_extra_info("socket").fileno() == -1


async def test_a_flood_leaves_room_for_others() -> None:
    """Rule 3: a batch each turn, and what is left over is not forgotten though no event tells of it again."""
    log: list[str] = []

    def noting(name: str) -> Callable[[], DatagramRecorder]:
        class Noting(DatagramRecorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                log.append(name)

        return Noting

    with plain_socket() as peer:
        async with endpoint(noting("flood")) as (flooded, flood), endpoint(noting("other")) as (lucky, other):
            for _ in range(200):
                peer.sendto(b"flood", name_of(flooded))
            peer.sendto(b"other", name_of(lucky))
            await other.arrived(1)
            await flood.arrived(200)
    assert log.index("other") <= 64
    assert log.count("flood") == 200


async def test_others_have_their_turn_between_two_datagrams_that_take_long() -> None:
    """What a batch has of a turn is bounded by time too, and what is not delivered then comes later, in order."""
    order: list[str] = []

    class Slow(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            order.append("datagram")
            time.sleep(0.0005)  # longer than a batch has of a turn, datagram.DELIVER_SECONDS

    with plain_socket() as peer:
        async with endpoint(Slow) as (transport, protocol):
            for number in range(20):
                peer.sendto(b"%d" % number, name_of(transport))
            while len(protocol.datagrams) < 20:
                order.append("turn")
                await asyncio.sleep(0)
    assert protocol.data == [b"%d" % number for number in range(20)]
    assert all(pair != ("datagram", "datagram") for pair in itertools.pairwise(order))


@pytest.mark.parametrize("end", ["pause_reading", "close", "abort"])
async def test_what_a_batch_has_left_is_dropped_or_kept_like_the_rest(end: str) -> None:
    """A transport that pauses keeps it, and one that closes drops it."""

    class Slow(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            time.sleep(0.0005)

    with plain_socket() as peer:
        async with endpoint(Slow) as (transport, protocol):
            for number in range(20):
                peer.sendto(b"%d" % number, name_of(transport))
            await protocol.arrived(3)
            reading: Any = transport
            getattr(reading, end)()
            before = len(protocol.datagrams)
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(protocol.datagrams) == before < 20
            if end == "pause_reading":
                reading.resume_reading()
                assert await protocol.arrived(20) == [b"%d" % number for number in range(20)]


async def test_news_of_the_very_last_moment_is_not_lost() -> None:
    """A batch that is exactly full says nothing of what is left; a short one does."""
    with plain_socket() as peer:
        async with endpoint() as (transport, protocol):
            for count in (1, 31, 32, 33, 63, 64, 65):
                protocol.datagrams.clear()
                for number in range(count):
                    peer.sendto(b"%d" % number, name_of(transport))
                assert await protocol.arrived(count) == [b"%d" % number for number in range(count)]
                # And the next edge is told.
                peer.sendto(b"next", name_of(transport))
                await protocol.arrived(count + 1)


async def test_an_error_and_a_datagram_in_one_event() -> None:
    """Rule 2: the kernel tells the error first, and alone; the datagram behind it has no event of its own."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(LOCAL)
    async with endpoint(remote_addr=peer.getsockname()) as (transport, protocol):
        peer.sendto(b"last words", name_of(transport))
        peer.close()
        transport.sendto(b"still there?")  # refused by ICMP at once, over loopback
        await protocol.until(lambda: bool(protocol.errors and protocol.datagrams))
        assert isinstance(protocol.errors[0], ConnectionRefusedError)
        assert protocol.data == [b"last words"]


async def test_writing_is_watched_only_while_it_would_block(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    """Rule 4: armed on EAGAIN, disarmed lazily."""
    path = str(tmp_path / "reader")
    with plain_socket(socket.AF_UNIX, path) as reader:
        async with endpoint(remote_addr=path, family=socket.AF_UNIX) as (transport, _):
            waiting: Any = transport
            assert not mask_of(loop, transport) & OUT
            sent = 0
            while not waiting.get_write_buffer_size():
                transport.sendto(b"%d" % sent)
                sent += 1
                await asyncio.sleep(0)
            assert mask_of(loop, transport) & OUT
            received = 0
            while received < sent:
                assert await loop.sock_recv(reader, 100) == b"%d" % received
                received += 1
            assert not waiting.get_write_buffer_size()
            transport.sendto(b"more")
            assert await loop.sock_recv(reader, 100) == b"more"


@needs_strace
def test_a_blocked_sender_sleeps(tmp_path: Path) -> None:
    """EPOLLOUT of an unconnected Unix socket is about its own room, which it has: that must not keep the loop turning.

    Asked after ever longer times, the full queue costs some forty attempts here; asked in each turn, thousands.
    """
    script = """
        import asyncio, socket, sys
        import edgeloop

        async def main(folder):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
                reader.bind(folder + "/reader")
                transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    asyncio.DatagramProtocol, local_addr=folder + "/writer", family=socket.AF_UNIX
                )
                while not transport.get_write_buffer_size():
                    transport.sendto(b"x", folder + "/reader")
                    await asyncio.sleep(0)
                await asyncio.sleep(0.3)
                transport.abort()
                await asyncio.sleep(0)

        edgeloop.run(main(sys.argv[1]))
    """
    calls = system_calls(script, str(tmp_path), directory=tmp_path)
    assert calls["sendto"] + calls["sendmmsg"] < 500
    assert sum(calls[name] for name in ("epoll_wait", "epoll_pwait", "epoll_pwait2")) < 1000


def test_two_loops_in_two_threads_keep_their_datagrams_apart(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """The compiled edition receives into one buffer for all loops."""
    count = 3000
    failures: list[str] = []

    async def converse(mark: bytes) -> None:
        async with endpoint() as (one, first), endpoint() as (two, second):
            sent = 0
            while sent < count:
                for _ in range(50):
                    one.sendto(mark * 50 + b"%d" % sent, name_of(two))
                    sent += 1
                await second.arrived(sent)
            for number, (data, address) in enumerate(second.datagrams):
                if data != mark * 50 + b"%d" % number or address != name_of(one):
                    failures.append(f"{mark!r} got {data!r} from {address!r}")
            assert not first.errors

    def work(mark: bytes) -> None:
        loop = loop_factory()
        try:
            loop.run_until_complete(asyncio.wait_for(converse(mark), 60))
        except BaseException as exc:
            failures.append(repr(exc))
            raise
        finally:
            loop.close()

    threads = [threading.Thread(target=work, args=(mark,)) for mark in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
