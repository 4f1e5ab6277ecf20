"""Records in pieces, out of bounds, of the wrong kind and broken: what the application gets, and how the connection ends."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

import pytest
from forged_tls import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    HELLO_REQUEST,
    LARGEST,
    client_hello,
    forged,
    key_update,
    message,
    plain_hello,
    record,
)
from recording import Recorder, record_errors, turns
from sockets import tcp_pair
from tls_certificates import client_context, server_context
from tls_peer import Peer, reason_of

sides = pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


class OwnObject(ssl.SSLObject):
    """A class of the application's is called for each record; without one, OpenSSL is, where it can be."""


engines = pytest.mark.parametrize("sslobject_class", [None, OwnObject], ids=["direct", "by the ssl module"])


class ByteByByte(Peer):
    """Lets the other end look after each byte."""

    sent = 0

    async def flush(self) -> None:
        for byte in self.outgoing.read():
            self.sent += 1
            await asyncio.get_running_loop().sock_sendall(self.sock, bytes([byte]))
            await asyncio.sleep(0)


def iterations() -> int:
    """How often the loop has asked the kernel; 0 where it doesn't count."""
    reactor = getattr(asyncio.get_running_loop(), "reactor", None)
    return 0 if reactor is None else int(reactor.iteration)


@sides
@versions
async def test_a_peer_that_sends_byte_by_byte(server_side: bool, version: str) -> None:
    """The handshake and every record. A byte is worth two or three turns: its sender's, and the one that reads it."""
    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    contexts = client_context(version=version), server_context(version=version)
    with theirs:
        peer = ByteByByte(theirs, contexts[not server_side], server_side=not server_side)
        before = iterations()
        if server_side:
            connect = loop.connect_accepted_socket(Recorder, ours, ssl=contexts[1])
        else:
            connect = loop.create_connection(Recorder, sock=ours, ssl=contexts[0], server_hostname="localhost")
        (transport, protocol), _ = await asyncio.gather(connect, peer.handshake())
        sent = os.urandom(300)
        await peer.send(sent)
        assert await protocol.bytes_in(len(sent)) == sent
        await peer.send_close_notify()
        assert await protocol.lost() is None
        assert iterations() - before < 4 * peer.sent + 100
        assert transport.is_closing()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_a_hello_cut_at_every_byte(version: str) -> None:
    """Who sends part of one and leaves is a client that never came."""
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder())
        return made[-1]

    context = server_context()
    hello = plain_hello(client_context(version=version))
    for size in range(len(hello)):
        ours, theirs = tcp_pair()
        with theirs:
            theirs.sendall(hello[:size])
        with pytest.raises(ConnectionError):
            await loop.connect_accepted_socket(make, ours, ssl=context)
    assert errors == []
    assert all(protocol.calls == [] for protocol in made)


HELLO = plain_hello()
GARBAGE = {
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": bytes(2000),
    "random": bytes(range(256)) * 20,
    "SSLv2 hello": b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(37),
    "record of nothing": record(HANDSHAKE, b"") * 50,
    "largest length": record(HANDSHAKE, HELLO[5:], 0xFFFF),
    "a kind that isn't": record(99, HELLO[5:]),
    "application data": record(APPLICATION_DATA, b"data"),
    "an alert": record(ALERT, b"\x02\x28"),
    "an empty alert": record(ALERT, b""),
    "half an alert": record(ALERT, b"\x02"),
    "change of ciphers": record(CHANGE_CIPHER_SPEC, b"\x01"),
    "changes of ciphers": HELLO + record(CHANGE_CIPHER_SPEC, b"\x01") * 100,
    "a message of 16 MB": record(HANDSHAKE, message(1, HELLO[9:], 0xFFFFFF)),
    "two hellos": HELLO + HELLO,
    "a hello request": record(HANDSHAKE, message(HELLO_REQUEST, b"")),
    "a finished": record(HANDSHAKE, message(20, bytes(48))),
    "an update of keys": record(HANDSHAKE, key_update(answer=True)),
    "fragments of one byte": b"".join(record(HANDSHAKE, HELLO[at : at + 1]) for at in range(5, 60)) + b"!" * 5,
}


@pytest.mark.parametrize("garbage", GARBAGE)
@sides
async def test_garbage_in_place_of_a_handshake_ends_it(server_side: bool, garbage: str) -> None:
    """The exception is ssl.SSLError, or a ConnectionError where the peer's end is what ends it."""
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)
    ours, theirs = tcp_pair()
    protocol = Recorder()
    with theirs:
        theirs.sendall(GARBAGE[garbage])
        theirs.shutdown(1)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            if server_side:
                await loop.connect_accepted_socket(lambda: protocol, ours, ssl=server_context())
            else:
                await loop.create_connection(
                    lambda: protocol, sock=ours, ssl=client_context(), server_hostname="localhost"
                )
    await turns()
    assert protocol.calls == []
    assert errors == []


def broken(sealed: bytes) -> bytes:
    """Its last byte, of the tag, is another one."""
    return sealed[:-1] + bytes([sealed[-1] ^ 1])


# What comes behind b"good" on an open connection, made by a Forger.
FATAL_13: dict[str, Any] = {
    "a broken tag": lambda forger: broken(forger.keys.seal(APPLICATION_DATA, b"bad")),
    "the same record again": lambda forger: forger.last,
    "too large by one": lambda forger: forger.keys.seal(APPLICATION_DATA, bytes(LARGEST + 1)),
    "a length beyond all": lambda forger: record(APPLICATION_DATA, b"", 0xFFFF),
    "plain text": lambda forger: b"plain text\n",
    "unencrypted data": lambda forger: record(APPLICATION_DATA, b"unencrypted data" * 3),
    "an unencrypted close_notify": lambda forger: record(ALERT, b"\x01\x00"),
    "a record of no kind": lambda forger: forger.keys.seal(0, b""),
    "padding alone": lambda forger: forger.keys.seal(0, bytes(1000)),
    "a kind that isn't": lambda forger: forger.keys.seal(99, b"what"),
    "an empty handshake record": lambda forger: forger.keys.seal(HANDSHAKE, b""),
    "an empty alert": lambda forger: forger.keys.seal(ALERT, b""),
    "an alert of three bytes": lambda forger: forger.keys.seal(ALERT, b"\x01\x00\x00"),
    "a fatal alert": lambda forger: forger.keys.seal(ALERT, b"\x02\x28"),
    "a new hello": lambda forger: forger.keys.seal(HANDSHAKE, client_hello()),
    "an update of keys that isn't": lambda forger: forger.keys.seal(HANDSHAKE, message(24, b"\x07")),
    "a long update of keys": lambda forger: forger.keys.seal(HANDSHAKE, message(24, b"\x00\x00")),
    "a message of 16 MB": lambda forger: forger.keys.seal(HANDSHAKE, message(4, b"\x00", 0xFFFFFF)),
    "a change of ciphers": lambda forger: forger.keys.seal(CHANGE_CIPHER_SPEC, b"\x01"),
    "empty records, many": lambda forger: b"".join(forger.keys.seal(APPLICATION_DATA, b"") for _ in range(100)),
    "warnings, many": lambda forger: b"".join(forger.keys.seal(ALERT, b"\x01\x5a") for _ in range(100)),
}


FATAL_12: dict[str, Any] = {
    "a broken tag": FATAL_13["a broken tag"],
    "the same record again": FATAL_13["the same record again"],
    "too large by one": FATAL_13["too large by one"],
    "plain text": FATAL_13["plain text"],
    "a fatal alert": FATAL_13["a fatal alert"],
    "an empty alert": FATAL_13["an empty alert"],
    "a kind that isn't": FATAL_13["a kind that isn't"],
    "a change of ciphers": FATAL_13["a change of ciphers"],
    "empty records, many": FATAL_13["empty records, many"],
    "warnings, many": FATAL_13["warnings, many"],
    "a finished": lambda forger: forger.keys.seal(HANDSHAKE, message(20, bytes(12))),
    "an unencrypted close_notify": FATAL_13["an unencrypted close_notify"],
}


@pytest.mark.edgeloop_only  # asyncio drops what it has decrypted before
@pytest.mark.parametrize("name", FATAL_12)
@engines
async def test_a_record_of_tls_1_2_that_must_not_be_ends_the_connection(
    sslobject_class: type[ssl.SSLObject] | None, name: str
) -> None:
    async with forged(server_side=True, version="TLSv1.2", sslobject_class=sslobject_class) as (_, protocol, forger):
        await behind_good_data(protocol, forger, FATAL_12[name])


async def behind_good_data(protocol: Recorder, forger: Any, make: Any) -> None:
    """What came before it is delivered, and nothing of it. connection_lost has the ssl module's error."""
    errors = record_errors(asyncio.get_running_loop())
    good = forger.keys.seal(APPLICATION_DATA, b"good")
    forger.last = good
    await forger.send_raw(good + make(forger))
    error = await protocol.lost()
    assert isinstance(error, ssl.SSLError)
    assert protocol.received == b"good"
    assert [call for call in protocol.calls if call != "data_received"] == ["connection_made", "connection_lost"]
    assert errors == []


@pytest.mark.edgeloop_only  # asyncio drops what it has decrypted before
@pytest.mark.parametrize("name", FATAL_13)
@sides
@engines
async def test_a_record_that_must_not_be_ends_the_connection(
    server_side: bool, sslobject_class: type[ssl.SSLObject] | None, name: str
) -> None:
    async with forged(server_side=server_side, sslobject_class=sslobject_class) as (_, protocol, forger):
        await behind_good_data(protocol, forger, FATAL_13[name])


@engines
async def test_the_alert_of_the_peer_is_told(sslobject_class: type[ssl.SSLObject] | None) -> None:
    """handshake_failure, 40: the first name is of OpenSSL up to 3.1. It is no end of the data."""
    async with forged(server_side=True, sslobject_class=sslobject_class) as (_, protocol, forger):
        await forger.seal(ALERT, b"\x02\x28")
        error = await protocol.lost()
        assert isinstance(error, ssl.SSLError)
        assert "ALERT_HANDSHAKE_FAILURE" in reason_of(error)
        assert "eof_received" not in protocol.calls


HARMLESS_13: dict[str, Any] = {
    "empty records": lambda keys: keys.seal(APPLICATION_DATA, b""),
    "the most padding": lambda keys: keys.seal(APPLICATION_DATA, b"", LARGEST),
    "an update of keys": lambda keys: keys.seal(HANDSHAKE, key_update(answer=False)),
    "an update of both keys": lambda keys: keys.seal(HANDSHAKE, key_update(answer=True)),
    "a warning": lambda keys: keys.seal(ALERT, b"\x01\x5a"),
}


@pytest.mark.parametrize("name", HARMLESS_13)
@sides
async def test_a_record_without_data_is_no_end_of_data(server_side: bool, name: str) -> None:
    async with forged(server_side=server_side) as (_, protocol, forger):
        for number in range(4):  # OpenSSL takes a few in a row for an attack
            await forger.send_raw(HARMLESS_13[name](forger.keys))
            await forger.seal(APPLICATION_DATA, b"good")
            await protocol.bytes_in(4 * (number + 1))
        assert protocol.received == b"good" * 4
        assert set(protocol.calls) == {"connection_made", "data_received"}


async def test_the_largest_record_is_taken() -> None:
    async with forged(server_side=True) as (_, protocol, forger):
        await forger.seal(APPLICATION_DATA, bytes(LARGEST))
        assert await protocol.bytes_in(LARGEST) == bytes(LARGEST)


async def test_a_client_that_wants_to_renegotiate_is_refused_and_goes_on() -> None:
    """OpenSSL 3 answers with the warning no_renegotiation; before that Python's contexts refused it with an error."""
    async with forged(server_side=True, version="TLSv1.2") as (transport, protocol, forger):
        await forger.seal(HANDSHAKE, client_hello())
        await forger.seal(APPLICATION_DATA, b"good")
        await protocol.until(lambda: protocol.received == b"good" or "connection_lost" in protocol.calls)
        assert protocol.received == b"good"
        assert not transport.is_closing()
