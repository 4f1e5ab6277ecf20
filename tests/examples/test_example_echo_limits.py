"""examples/echo_protocol.py with the limits that its options give it."""

from __future__ import annotations

import socket
import struct

import pytest
from example_process import ExampleProcess, eventually, example_of_a_test

pytestmark = pytest.mark.edgeloop_only

idle = example_of_a_test("echo_protocol.py", "--idle-timeout", "0.3")
one_each = example_of_a_test("echo_protocol.py", "--max-connections-per-peer", "1")


def connected(server: ExampleProcess) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=30)


def ended(client: socket.socket) -> bool:
    """Wait for something; return True if it is the end."""
    try:
        return client.recv(100) == b""
    except ConnectionResetError:
        return True


def served(server: ExampleProcess) -> bool:
    """Return True if a new connection is served, and False if it is refused."""
    try:
        with connected(server) as client:
            client.sendall(b"3")
            return client.recv(100) == b"3"
    except ConnectionError:
        return False


def test_idle_connections_end(idle: ExampleProcess) -> None:
    before = idle.descriptors()
    with connected(idle) as silent, connected(idle) as talker:
        talker.sendall(b"1")
        assert talker.recv(100) == b"1"
        assert ended(talker)
        assert ended(silent)
    assert eventually(lambda: idle.descriptors() <= before)


def test_a_second_connection_of_an_address_is_refused_until_the_first_has_ended(one_each: ExampleProcess) -> None:
    with connected(one_each) as first:
        first.sendall(b"1")
        assert first.recv(100) == b"1"
        assert not served(one_each)
        first.sendall(b"2")
        assert first.recv(100) == b"2"
        # A reset, so that it has ended for the server when the next one comes.
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert eventually(lambda: served(one_each))
