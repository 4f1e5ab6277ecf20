"""Scenarios of the fail-call campaign: pipes, child processes, files that are sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import tempfile
from typing import IO, Any

from stage import Stage, StreamWitness, Witness

CONTENT = bytes(range(251)) * 1500  # more than a socket takes at once
WRITTEN = bytes(range(256)) * 600  # more than a pipe takes at once


def pipes(stage: Stage) -> None:
    """Through a pipe, from a transport to another."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        with stage.calm():
            to_read, to_write = os.pipe()
            reading, writing = open(to_read, "rb", 0), open(to_write, "wb", 0)
        try:
            source, reader = await loop.connect_read_pipe(stage.witness(StreamWitness, "reader"), reading)
            drain, writer = await loop.connect_write_pipe(stage.witness(Witness, "writer"), writing)
            drain.write(b"a")
            drain.write(b"bc")
            await reader.bytes_in(3)
            drain.write(WRITTEN)
            if await reader.bytes_in(3 + len(WRITTEN)) != b"abc" + WRITTEN:
                reader.wrong("other bytes came than were written")
            drain.close()
            await writer.over
            await reader.over
            source.close()
        finally:
            with stage.calm():
                reading.close()
                writing.close()

    stage.run(play)


class _Child(asyncio.SubprocessProtocol):
    """Remembers what its child did, and in which order."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.transport: Any = None
        self.output = bytearray()
        self.events: list[str] = []
        self.over = asyncio.Event()  # a future would be cancelled by who gives up waiting for it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")
        self.transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if "lost" in self.events:
            self.stage.wrong("pipe_data_received after connection_lost")
        self.output += data

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.events.append(f"pipe {fd}")

    def process_exited(self) -> None:
        self.events.append("exited")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.over.set()


def child(stage: Stage) -> None:
    """A child answers, ends, and everything about it is told once."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        protocols: list[_Child] = []

        def factory() -> _Child:
            protocols.append(_Child(stage))
            return protocols[-1]

        try:
            transport, protocol = await loop.subprocess_exec(factory, "cat", stderr=subprocess.DEVNULL)
            try:
                stdin: Any = transport.get_pipe_transport(0)
                stdin.write(b"spoken")
                stdin.close()
                await asyncio.wait_for(protocol.over.wait(), 5)
            finally:
                transport.close()
                await asyncio.wait_for(protocol.over.wait(), 5)
            if bytes(protocol.output) != b"spoken":
                if not b"spoken".startswith(protocol.output):
                    stage.wrong(f"the child said {protocol.output!r}")
                raise EOFError
        finally:
            for protocol in protocols:
                _judge(stage, protocol)

    stage.run(play)


def _judge(stage: Stage, protocol: _Child) -> None:
    events = protocol.events
    if len(set(events)) != len(events):
        stage.wrong(f"a child's events came twice: {events}")
    if "made" in events and (events[0] != "made" or "lost" not in events or "exited" not in events):
        stage.wrong(f"a child's events: {events}")


def communicate(stage: Stage) -> None:
    """asyncio.subprocess: a child that answers, and one that is killed."""

    async def play() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            output, _ = await asyncio.wait_for(process.communicate(b"spoken"), 5)
            if output != b"spoken":
                if not b"spoken".startswith(output):
                    stage.wrong(f"the child said {output!r}")
                raise EOFError
        except BaseException:
            with stage.calm(), contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, 9)  # nobody ends its input any more
            raise
        finally:
            await asyncio.wait_for(process.wait(), 5)
        if process.returncode != 0:
            stage.wrong(f"the child's exit status is {process.returncode}")
        other = await asyncio.create_subprocess_exec("sleep", "100")
        try:
            other.kill()
        except OSError:
            with stage.calm():
                os.kill(other.pid, 9)
            raise
        finally:
            status = await asyncio.wait_for(other.wait(), 5)
        if status != -9:
            stage.wrong(f"the exit status of a killed child is {status}")

    stage.run(play)


def _file() -> IO[bytes]:
    file = tempfile.TemporaryFile(buffering=0)
    file.write(CONTENT)
    file.seek(0)
    return file


def sendfile(stage: Stage) -> None:
    """A file through a transport, between writes; then through a bare socket."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        with stage.calm():
            pairs = [socket.socketpair(), socket.socketpair()]
            file = _file()
            for pair in pairs:
                for sock in pair:
                    sock.setblocking(False)
        (one, other), (third, fourth) = pairs
        try:
            first, _ = await loop.create_connection(stage.witness(StreamWitness, "sender"), sock=one)
            second, receiver = await loop.create_connection(stage.witness(StreamWitness, "receiver"), sock=other)
            first.write(b"<")
            if first.is_closing():
                raise ConnectionError("could not be registered")
            sent = await loop.sendfile(first, file)
            if sent != len(CONTENT):
                stage.wrong(f"sendfile sent {sent} bytes")
            first.write(b">")
            if await receiver.bytes_in(len(CONTENT) + 2) != b"<" + CONTENT + b">":
                receiver.wrong("other bytes came than were sent")
            first.close()
            second.close()
            await receiver.over

            last, receiver = await loop.create_connection(stage.witness(StreamWitness, "last"), sock=fourth)
            sent = await loop.sock_sendfile(third, file)
            if sent != len(CONTENT):
                stage.wrong(f"sock_sendfile sent {sent} bytes")
            if await receiver.bytes_in(len(CONTENT)) != CONTENT:
                receiver.wrong("other bytes came than were sent")
            last.close()
            await receiver.over
        finally:
            with stage.calm():
                file.close()
                for pair in pairs:
                    for sock in pair:
                        sock.close()

    stage.run(play)


SCENARIOS = (pipes, child, communicate, sendfile)
