"""What comes in the middle of a send: an interruption, an end. A given socket is asked for its number there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
from recording import Recorder, record_errors, turns

pytestmark = pytest.mark.edgeloop_only  # asyncio's loop asks for the number once


class Asked(socket.socket):
    """Calls ``then``, once, when it is asked for its number."""

    then: Callable[[], object] | None = None

    def fileno(self) -> int:
        then, self.then = self.then, None
        if then is not None:
            then()
        return super().fileno()


async def connect(loop: asyncio.AbstractEventLoop) -> tuple[Recorder, Asked, socket.socket]:
    ours, theirs = socket.socketpair()
    asked = Asked(fileno=ours.detach())
    _, protocol = await loop.create_connection(Recorder, sock=asked)
    return protocol, asked, theirs


def test_what_an_interruption_held_up_leaves_when_the_loop_runs_again(loop: asyncio.AbstractEventLoop) -> None:
    protocol, asked, peer = loop.run_until_complete(connect(loop))

    def interrupt() -> None:
        raise KeyboardInterrupt

    def write() -> None:
        asked.then = interrupt
        protocol.transport.write(b"all of it")

    with peer:
        peer.setblocking(False)
        loop.call_soon(write)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        loop.run_until_complete(turns(3))
        assert peer.recv(100) == b"all of it"
        protocol.transport.abort()
        loop.run_until_complete(turns(3))


def test_a_transport_ends_though_its_resume_writing_was_interrupted(loop: asyncio.AbstractEventLoop) -> None:
    """It is closed, and all has left: nothing else would end it."""

    class Interrupted(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            raise KeyboardInterrupt

    ours, peer = socket.socketpair()
    _, protocol = loop.run_until_complete(loop.create_connection(Interrupted, sock=ours))
    with peer:
        peer.setblocking(False)

        async def write_and_close() -> None:
            protocol.transport.set_write_buffer_limits(0)
            protocol.transport.write(bytes(1_000_000))
            protocol.transport.close()

        async def read_all() -> int:
            count = 0
            while data := await loop.sock_recv(peer, 65536):
                count += len(data)
            return count

        loop.run_until_complete(write_and_close())
        reading = loop.create_task(read_all())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(reading)
        assert loop.run_until_complete(asyncio.wait_for(reading, 20)) == 1_000_000
        assert protocol.calls == ["connection_made", "pause_writing", "resume_writing", "connection_lost"]


async def test_an_error_after_an_abort_is_nobodys(loop: asyncio.AbstractEventLoop) -> None:
    errors = record_errors(loop)
    protocol, asked, peer = await connect(loop)

    def abort() -> None:
        protocol.transport.abort()
        raise ValueError("there was nothing to send any more")

    with peer:
        asked.then = abort
        protocol.transport.write(b"lost")
        await turns(3)
        assert protocol.calls == ["connection_made", "connection_lost"]
        assert errors == []
