"""QUIC over a network that loses datagrams or brings them in another order.

aioquic's own test of losses replaces ``socket.socket.sendto``, which a loop that makes its system calls itself doesn't
go through: there nothing is lost. Here a relay between the two ends loses them, whatever the loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import selectors
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration

SIZE = 1_000_000


class Relay(threading.Thread):
    """Carries datagrams between one client and the server at ``port``, without any event loop.

    ``decide`` gets the number of each datagram from the client or the server, counted for each direction, and says what
    becomes of it: ``pass``, ``lose``, or ``late``: it goes after the next one.
    """

    def __init__(self, port: int, decide: Callable[[int], str]) -> None:
        super().__init__(daemon=True)
        self.server = ("127.0.0.1", port)
        self.decide = decide
        self.front = self._socket()
        self.back = self._socket()
        self.done: list[str] = []
        self.stopping, self._stop = socket.socketpair()
        self.address = self.front.getsockname()

    @staticmethod
    def _socket() -> socket.socket:
        one = socket.socket(type=socket.SOCK_DGRAM)
        one.bind(("127.0.0.1", 0))
        return one

    def run(self) -> None:
        client = None
        numbers = {"front": 0, "back": 0}
        late: dict[str, list[bytes]] = {"front": [], "back": []}
        with selectors.DefaultSelector() as selector:
            for one, side in ((self.front, "front"), (self.back, "back"), (self.stopping, "stop")):
                selector.register(one, selectors.EVENT_READ, side)
            while True:
                for key, _ in selector.select():
                    side = key.data
                    if side == "stop":
                        return
                    data, sender = key.fileobj.recvfrom(65536)  # type: ignore[union-attr]  # only sockets are there
                    if side == "front":
                        client = sender
                    what = self.decide(numbers[side])
                    numbers[side] += 1
                    self.done.append(what)
                    if what == "lose":
                        continue
                    if what == "late":
                        late[side].append(data)
                        continue
                    for one in (data, *late[side]):
                        if side == "front":
                            self.back.sendto(one, self.server)
                        elif client:
                            self.front.sendto(one, client)
                    late[side].clear()

    def stop(self) -> None:
        self._stop.send(b"x")
        self.join()
        for one in (self.front, self.back, self.stopping, self._stop):
            one.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    return tmp_path


def over(
    relayed: Callable[[int], str], certificates: Path, use: Callable[[QuicConnectionProtocol], Awaitable[None]]
) -> list[str]:
    """Run ``use`` with a client whose server echoes what each stream sends; what the relay did with the datagrams."""

    async def main() -> list[str]:
        assert type(asyncio.get_running_loop()).__module__.startswith(os.environ["EDGELOOP_COMPAT_LOOP"])
        echoing: set[asyncio.Task[None]] = set()

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                writer.write(data)
            writer.write_eof()

        def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            echoing.add(asyncio.ensure_future(echo(reader, writer)))

        ours = QuicConfiguration(is_client=False)
        ours.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        server = await serve("127.0.0.1", 0, configuration=ours, stream_handler=stream)
        relay = Relay(server._transport.get_extra_info("sockname")[1], relayed)
        relay.start()
        try:
            theirs = QuicConfiguration(is_client=True, cafile=str(certificates / "ca.pem"), idle_timeout=60)
            async with connect(*relay.address, configuration=theirs) as client:
                await use(client)
        finally:
            relay.stop()
            server.close()
            for task in echoing:
                task.cancel()
        return relay.done

    return asyncio.run(main())


async def echo_megabyte(client: QuicConnectionProtocol, seed: int = 0) -> None:
    data = hashlib.shake_256(bytes([seed])).digest(SIZE)
    reader, writer = await client.create_stream()
    writer.write(data)
    writer.write_eof()
    assert await reader.read() == data


def test_nothing_happens_to_the_datagrams(certificates: Path) -> None:
    done = over(lambda number: "pass", certificates, echo_megabyte)
    assert len(done) > SIZE * 2 / 1500


def test_a_quarter_is_lost(certificates: Path) -> None:
    done = over(lambda number: "lose" if number % 4 == 3 else "pass", certificates, echo_megabyte)
    assert done.count("lose") > len(done) / 5


def test_datagrams_overtake_each_other(certificates: Path) -> None:
    done = over(lambda number: "late" if number % 3 == 2 else "pass", certificates, echo_megabyte)
    assert "late" in done


def test_streams_at_once_with_losses(certificates: Path) -> None:
    async def use(client: QuicConnectionProtocol) -> None:
        await asyncio.gather(*(echo_megabyte(client, seed) for seed in range(3)))

    done = over(lambda number: "lose" if number % 10 == 9 else "pass", certificates, use)
    assert "lose" in done
