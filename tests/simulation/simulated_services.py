"""More scenes: edgeloop's streams, and files that are sent."""

from __future__ import annotations

import asyncio
from typing import Any

from simulated_endpoints import Endpoint
from simulated_kernel import RegularFile
from simulated_peers import SIZES, Flow, ListeningPeer, stream_with_peer
from simulated_run import Run
from simulated_scenes import PipeFile, _add, _kind, _task
from simulated_socket import SimulatedSocket
from simulated_streams import TcpSocket

import edgeloop.streams

LIMITS = (65536, 1, 1000)


def streams(run: Run) -> None:
    """open_connection to another process: one task reads in each way there is, one writes."""
    listening = TcpSocket(run.kernel)
    listening.address = ("127.0.0.1", run.kernel.new_port())
    run.kernel.bound[TcpSocket, listening.address] = listening
    listening.listen(100)
    to_us, from_us = run.flow(), run.flow()
    _add(run, ListeningPeer(run.tape, listening, run.peers, (from_us, to_us)))

    async def open_it() -> None:
        try:
            reader, writer = await edgeloop.streams.open_connection(
                *listening.address, limit=LIMITS[run.tape.below(len(LIMITS))]
            )
        except (OSError, asyncio.CancelledError):
            return
        tasks = [asyncio.create_task(_read(run, reader, to_us)), asyncio.create_task(_write(run, writer, from_us))]
        run.tasks.extend(tasks)
        run.readings.append((to_us, lambda: len(reader._buffer), lambda: not tasks[0].done()))
        try:
            await asyncio.wait(tasks)
        finally:
            writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass

    async def quietly() -> None:
        try:
            await open_it()
        except asyncio.CancelledError:
            pass

    _task(run, quietly())


async def _read(run: Run, reader: Any, flow: Flow) -> None:
    while True:
        size = run.bounded(SIZES[run.tape.below(len(SIZES))])
        what = run.tape.below(4)
        try:
            if what == 0:
                data = await reader.read(size)
            elif what == 1:
                data = await reader.readexactly(size)
            elif what == 2:
                data = await reader.readuntil((b"\0", b"ab")[run.tape.below(2)])
            else:
                data = await reader.readline()
        except asyncio.IncompleteReadError as exc:
            flow.arrive(exc.partial)
            return
        except asyncio.LimitOverrunError as exc:
            data = await reader.read(exc.consumed or 1)
        except ValueError:  # readline drops what is over the limit
            return
        except (OSError, asyncio.CancelledError):
            return
        run.kernel.moved += 1
        try:
            flow.arrive(data)
        except AssertionError as exc:
            run.fail(str(exc))
        if not data:
            return
        run.act(None)


async def _write(run: Run, writer: Any, flow: Flow) -> None:
    try:
        for _ in range(run.tape.below(4)):
            data = flow.next(run.bounded(SIZES[run.tape.below(len(SIZES))]))
            flow.wrote(len(data))
            writer.write(data)
            await writer.drain()
            run.act(None)
        if run.tape.below(2) and writer.can_write_eof():
            writer.write_eof()
    except (OSError, asyncio.CancelledError):
        pass


def sent_file(run: Run) -> None:
    """A file is sent on a transport, between writes."""
    to_us, from_us = run.flow(), run.flow()
    fd, peer = stream_with_peer(run.kernel, run.tape, _kind(run), (from_us, to_us))
    _add(run, peer)
    endpoint = Endpoint(run, from_us, to_us)
    endpoint.socket = SimulatedSocket(fileno=fd)

    async def send() -> None:
        file: PipeFile | None = None
        try:
            transport, _ = await run.loop.connect_accepted_socket(endpoint.face, endpoint.socket)
            if endpoint.wrote_end or endpoint.lost or transport.is_closing():
                return
            data = from_us.next(run.bounded(SIZES[run.tape.below(len(SIZES))]))
            file = PipeFile(run.kernel.install(RegularFile(run.kernel, data)))
            endpoint.sending = True
            from_us.wrote(len(data))
            await run.loop.sendfile(transport, file, 0, (None, len(data))[run.tape.below(2)], fallback=False)
            run.seen["a file was sent"] += 1
        except (OSError, RuntimeError, asyncio.CancelledError):
            endpoint.may_lose = endpoint.wrote_end = True  # nobody knows how much of it was sent
        finally:
            endpoint.sending = False
            if file is not None:
                run.close(file)

    _task(run, send())


SCENES = (streams, sent_file)
