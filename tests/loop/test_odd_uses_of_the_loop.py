"""Executors, task factories, handlers and files that behave otherwise than most: as on asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import socket
import traceback
from typing import Any

import pytest
from recording import Recorder, Run, connected, turns


def test_an_executor_that_fails_to_end_says_so(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    class Failing(concurrent.futures.ThreadPoolExecutor):
        failed = False

        def shutdown(self, *args: Any, **keywords: Any) -> None:
            super().shutdown(*args, **keywords)
            if not self.failed:
                self.failed = True
                raise ValueError("it does not end")

    loop.set_default_executor(Failing())
    assert run(answer(loop)) == 7
    with pytest.raises(ValueError, match="it does not end"):
        run(loop.shutdown_default_executor())


async def answer(loop: asyncio.AbstractEventLoop) -> int:
    return await loop.run_in_executor(None, lambda: 7)


def test_a_factory_is_not_given_a_context_that_is_none(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> int:
        return 7

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **keywords: Any) -> asyncio.Task[Any]:
        given.append(set(keywords) - {"name", "eager_start"})
        return asyncio.Task(coro, loop=loop, **keywords)

    given: list[set[str]] = []
    loop.set_task_factory(factory)
    assert run(awaited(loop.create_task(main(), context=None))) == 7
    assert run(awaited(loop.create_task(main(), name="named"))) == 7
    assert set() in given


async def awaited(task: asyncio.Task[int]) -> int:
    return await task


def test_the_default_handler_prints_where_a_handle_was_created(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.call_exception_handler({"message": "failed", "handle_traceback": traceback.extract_stack()})
    assert "Handle created at (most recent call last):" in caplog.text
    assert __file__ in caplog.text


async def test_what_has_no_number_can_not_be_watched(loop: asyncio.AbstractEventLoop) -> None:
    class Numberless:
        def fileno(self) -> Any:
            return "three"

    with pytest.raises((ValueError, TypeError)):
        loop.add_reader(Numberless(), print)


async def test_a_lost_connection_ends_a_file_that_is_copied_to_it() -> None:
    loop = asyncio.get_running_loop()
    async with connected(Recorder, send_buffer=4096) as (transport, protocol, _peer):
        sending = loop.create_task(loop.sendfile(transport, io.BytesIO(bytes(10_000_000))))
        await protocol.called("pause_writing")
        await turns()
        transport.abort()
        with pytest.raises(ConnectionError):
            await sending
        await protocol.lost()


class Own(asyncio.Transport):
    """A transport that is the program's own, and marked as asyncio's are."""

    class _Mode:
        name = "TRY_NATIVE"

    _sendfile_compatible = _Mode

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.protocol: Any = asyncio.Protocol()

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 0, 0

    def write(self, data: Any) -> None:
        self.written += bytes(data)
        if b"data" in self.written:
            self.protocol.data_received(b"data in the pause")
        elif b"end" in self.written:
            self.protocol.eof_received()
        elif b"again" in self.written:
            self.protocol.connection_made(self)


@pytest.mark.edgeloop_only  # asyncio takes whatever is marked so for its own
async def test_a_program_s_own_transport_gets_files_by_write() -> None:
    loop = asyncio.get_running_loop()
    transport = Own()
    protocol = transport.protocol
    with pytest.raises(asyncio.SendfileNotAvailableError):
        await loop.sendfile(transport, io.BytesIO(b"file"), fallback=False)
    assert await loop.sendfile(transport, io.BytesIO(b"file")) == 4
    assert transport.written == b"file"
    assert transport.protocol is protocol


@pytest.mark.edgeloop_only
@pytest.mark.parametrize("stray", ["data", "end", "again"])
async def test_a_transport_that_calls_though_it_is_paused_fails_in_that_call(stray: str) -> None:
    transport = Own()
    protocol = transport.protocol
    with pytest.raises(RuntimeError, match="Invalid state: "):
        await asyncio.get_running_loop().sendfile(transport, io.BytesIO(stray.encode()))
    assert transport.protocol is protocol


@pytest.mark.edgeloop_only  # asyncio changes the entry of the file that is gone: FileNotFoundError
async def test_a_socket_that_only_had_a_writer_and_was_closed_leaves_nothing_to_the_next(
    loop: asyncio.AbstractEventLoop,
) -> None:
    called: list[str] = []
    first, its_peer = socket.socketpair()
    number = first.fileno()
    loop.add_writer(first, called.append, "the first")
    first.close()
    second, peer = socket.socketpair()
    with its_peer, peer:
        assert second.fileno() == number
        second.setblocking(False)
        called.clear()
        peer.send(b"data")
        loop.add_reader(second, lambda: called.append(second.recv(10).decode()))
        await turns()
        assert called == ["data"]
        loop.remove_reader(second)
        second.close()
