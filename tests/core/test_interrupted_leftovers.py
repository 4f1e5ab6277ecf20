"""KeyboardInterrupt while the reactor goes through its lists: what is behind, before and new on them stays there."""

from __future__ import annotations

import asyncio
import functools
import socket

import pytest
from recording import turn

Loop = asyncio.AbstractEventLoop


class OneByteAtATime(asyncio.BufferedProtocol):
    """Gets a byte in each turn; with some of them it raises KeyboardInterrupt."""

    def __init__(self, interrupts: tuple[int, ...]) -> None:
        self.buffer = bytearray(1)
        self.came = b""
        self.interrupts = interrupts

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.came += self.buffer
        if len(self.came) in self.interrupts:
            raise KeyboardInterrupt


def _return(protocol: OneByteAtATime) -> OneByteAtATime:
    return protocol


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("interrupts", [(2,), (3,), (2, 3), (1, 2, 4)])
def test_what_is_left_over_is_read_though_one_was_interrupted(
    loop: Loop, which: int, interrupts: tuple[int, ...]
) -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    protocols = [OneByteAtATime(interrupts if number == which else ()) for number in range(3)]
    transports = []
    for (ours, _), protocol in zip(pairs, protocols, strict=True):
        connecting = loop.create_connection(functools.partial(_return, protocol), sock=ours)
        transports.append(loop.run_until_complete(connecting)[0])
    for _, theirs in pairs:
        theirs.send(b"abcde")
    for _ in interrupts:
        with pytest.raises(KeyboardInterrupt):
            turn(loop, 20)
    turn(loop, 20)
    assert [protocol.came for protocol in protocols] == [b"abcde"] * 3
    for transport in transports:
        transport.abort()
    turn(loop, 2)
    for _, theirs in pairs:
        theirs.close()


def test_an_event_comes_before_what_an_interrupted_one_has_scheduled(loop: Loop) -> None:
    order: list[str] = []

    class Either(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            if not order:
                loop.call_soon(order.append, "scheduled")
                order.append("interrupted")
                raise KeyboardInterrupt
            order.append("event")

    pairs = [socket.socketpair() for _ in range(2)]
    transports = [loop.run_until_complete(loop.create_connection(Either, sock=ours))[0] for ours, _ in pairs]
    for _, theirs in pairs:
        theirs.send(b"x")
    with pytest.raises(KeyboardInterrupt):
        turn(loop, 3)
    turn(loop, 3)
    assert order == ["interrupted", "event", "scheduled"]
    for transport in transports:
        transport.abort()
    turn(loop, 2)
    for _, theirs in pairs:
        theirs.close()
