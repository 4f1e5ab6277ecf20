"""The socket object of a transport: it asks that one before it does anything that what is gathered must come before."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sockets import Pair, tcp_pair

import edgeloop
from edgeloop.kernel import connection_socket
from edgeloop.kernel.connection_socket import ConnectionSocket

pytestmark = pytest.mark.edgeloop_only  # its own class


class Transport:
    """Keeps what it is asked, and the number that the socket has then."""

    def __init__(self, sock: ConnectionSocket) -> None:
        self.number = sock.fileno
        self.asked: list[str] = []
        sock.belong_to(self)

    def is_closing(self) -> bool:
        self.asked.append("is_closing")
        return False

    def ask_for_number(self, fileno: Callable[[], int]) -> None:
        assert fileno() >= 0
        self.asked.append("ask_for_number")

    def read_to_the_end(self) -> None:
        self.asked.append("read_to_the_end")


@pytest.fixture
def sockets() -> Iterator[tuple[ConnectionSocket, socket.socket]]:
    ours, theirs = tcp_pair()
    sock = ConnectionSocket(socket.AF_INET, socket.SOCK_STREAM, 0, ours.detach())
    with sock, theirs:
        yield sock, theirs


USES: dict[str, tuple[Callable[[Any], object], list[str]]] = {
    "fileno": (lambda sock: sock.fileno(), ["is_closing"]),
    "dup": (lambda sock: sock.dup().close(), ["is_closing"]),
    "shutdown": (lambda sock: sock.shutdown(socket.SHUT_WR), ["is_closing"]),
    "setsockopt": (lambda sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), ["is_closing"]),
    "close": (lambda sock: sock.close(), ["is_closing", "ask_for_number"]),
    "detach": (lambda sock: socket.close(sock.detach()), ["is_closing", "ask_for_number"]),
}


@pytest.mark.parametrize(("use", "asks"), USES.values(), ids=USES)
def test_a_transport_is_asked_before_its_socket_is_used(
    sockets: Pair, use: Callable[[Any], object], asks: list[str]
) -> None:
    sock: Any = sockets[0]
    transport = Transport(sock)
    use(sock)
    assert transport.asked[: len(asks)] == asks
    assert "read_to_the_end" not in transport.asked


@pytest.mark.parametrize("use", [use for use, _ in USES.values()], ids=USES)
@pytest.mark.parametrize("had", [False, True], ids=["never had one", "it is gone"])
def test_a_socket_without_a_transport_is_used_all_the_same(
    sockets: Pair, had: bool, use: Callable[[Any], object]
) -> None:
    sock: Any = sockets[0]
    if had:
        Transport(sock)
    use(sock)


@pytest.mark.skipif(edgeloop.EDITION == "compiled", reason="the number of the option is C's there")
def test_with_kernel_tls_the_transport_reads_to_the_end(sockets: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few kernels have it: another option stands for it."""
    monkeypatch.setattr(connection_socket, "TCP_ULP", socket.TCP_NODELAY)
    sock: Any = sockets[0]
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)  # of no transport yet
    transport = Transport(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    assert "read_to_the_end" not in transport.asked
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert transport.asked[-1] == "read_to_the_end"
