"""Checksums of files, one name a line: requests that block go to threads, and their answers come in order.

    python examples/thread_pool_server.py --port 8012 --files /usr/share/dict
    printf 'words\nno-such-file\n' | nc -N 127.0.0.1 8012

Reading a file may block for as long as its disk likes, which no event loop can help: a thread does it. Each connection has a
few requests at work or waiting, and a buffer for more; when that is full it is not read from. If all connections together have
too many, a request is answered "busy" at once. When a client leaves, its requests are forgotten and those at work stop early.

The line "/status" is answered with what the threads do, out of turn.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import signal
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import edgeloop

MAX_LINE = 256  # bytes
MAX_PENDING = 16  # requests of one connection, at work or waiting; the others stay in its buffer
MAX_BUFFER = 65_536  # bytes; then it isn't read from. Until then it is, or nobody would see that the client has left
CHUNK = 1 << 20  # bytes that are read between two looks whether the client is still there
NAME = re.compile(r"[\w-][\w.-]*")  # no slash, no dot in front: nothing outside the directory
GRACE = 5.0  # seconds that requests under way have when the server stops


class Left(Exception):
    """The client has left: nobody waits for this."""


class Checksums:
    """The threads, and how many requests they may have. All but ``checksum`` is for the loop's thread."""

    def __init__(self, files: Path, threads: int, most: int) -> None:
        self.files = files
        self.most = most  # requests of all connections, at work or waiting
        self.pool = ThreadPoolExecutor(threads, "checksum")
        self.pending = 0
        self.answered = self.busy = self.forgotten = 0

    def submit(self, name: str, gone: threading.Event) -> Future[str] | None:
        """Have a thread make the checksum; None: there is too much to do already."""
        if self.pending >= self.most:
            self.busy += 1
            return None
        self.pending += 1
        return self.pool.submit(self.checksum, name, gone)

    def checksum(self, name: str, gone: threading.Event) -> str:
        """In a thread. ``gone`` is set by the loop when the client has left."""
        if not NAME.fullmatch(name):
            raise ValueError("not a name")
        digest = hashlib.sha256()
        if gone.is_set():
            raise Left
        with open(self.files / name, "rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                if gone.is_set():
                    raise Left
                digest.update(chunk)
        return digest.hexdigest()

    def settled(self, future: Future[str]) -> None:
        """A request is not at work and not waiting any more."""
        self.pending -= 1
        if future.cancelled() or isinstance(future.exception(), Left):
            self.forgotten += 1
        else:
            self.answered += 1

    def status(self) -> str:
        return f"pending {self.pending} answered {self.answered} busy {self.busy} forgotten {self.forgotten}"


def answer_of(future: Future[str]) -> str:
    try:
        return future.result()
    except OSError as exc:
        return f"error: {os.strerror(exc.errno or 0)}"
    except ValueError as exc:
        return f"error: {exc}"


class Client(asyncio.Protocol):
    """One connection. ``requests`` has an answer, or the future that gets it, for each line, in the order of the lines."""

    def __init__(self, checksums: Checksums) -> None:
        self.checksums = checksums
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.requests: deque[str | Future[str]] = deque()
        self.gone = threading.Event()
        self.full = False  # the client doesn't read its answers
        self.ended = False  # the client sends no more, or the server stops

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        for request in self.requests:
            if isinstance(request, Future):
                request.cancel()  # if a thread has it already, it looks at ``gone``
        self.requests.clear()

    def data_received(self, data: bytes) -> None:
        if not self.ended:
            self.buffer += data
            self.go_on()

    def eof_received(self) -> bool:
        # A client may close its sending half and wait for answers. If it has closed both, the answers are refused.
        if self.buffer and not self.ended:
            self.buffer += b"\n"
        self.ended = True
        self.go_on()
        return True  # go_on() closes, when all is answered

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.go_on()

    def server_draining(self) -> None:
        """The server stops: what the threads have is still answered."""
        self.ended = True
        self.go_on()

    def go_on(self) -> None:
        """Answer what is done, take new requests in their place, and read on if there is room for more."""
        if self.gone.is_set() or self.transport.is_closing():
            return
        for _ in range(MAX_PENDING):  # in one turn
            line, newline, rest = self.buffer.partition(b"\n")
            if len(line) > MAX_LINE:
                self.requests.append(f"error: a line has at most {MAX_LINE} bytes")
                newline, rest, self.ended = b"", b"", True
            elif not newline or not self.has_room():
                break
            else:
                self.take(line.decode("utf-8", "replace").strip())
            self.buffer = rest
            self.send_answers()
        if self.ended and not self.requests and b"\n" not in self.buffer:
            self.transport.close()
            return
        if b"\n" in self.buffer and self.has_room():
            self.loop.call_soon(self.go_on)
        if self.full or len(self.buffer) >= MAX_BUFFER:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def has_room(self) -> bool:
        return not self.full and len(self.requests) < MAX_PENDING

    def take(self, line: str) -> None:
        if line == "/status":
            self.transport.write(self.checksums.status().encode() + b"\n")
            return
        future = self.checksums.submit(line, self.gone)
        self.requests.append("busy" if future is None else future)
        if future is not None:
            # Called by the thread, or by cancel(): both only wake the loop up.
            future.add_done_callback(self.done)

    def done(self, future: Future[str]) -> None:
        self.loop.call_soon_threadsafe(self.settle, future)

    def settle(self, future: Future[str]) -> None:
        self.checksums.settled(future)
        self.send_answers()
        self.go_on()

    def send_answers(self) -> None:
        # Up to the first that is not done: those behind it wait, though they may be.
        while self.requests and not self.gone.is_set():
            first = self.requests[0]
            if isinstance(first, Future):
                if not first.done():
                    return
                first = answer_of(first)
            self.requests.popleft()
            self.transport.write(first.encode() + b"\n")


async def serve(checksums: Checksums, host: str, port: int, limits: dict[str, Any]) -> None:
    """Serve on ``host`` and ``port`` until SIGINT or SIGTERM. OSError if the address can't be had."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, edgeloop.EventLoop)  # limits and drain() are its own
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: Client(checksums), host, port, **limits)
    for listener in server.sockets:
        print("Checksums at {}:{}".format(*listener.getsockname()[:2]), flush=True)
    await stop.wait()
    await server.drain(GRACE)
    await asyncio.to_thread(checksums.pool.shutdown, cancel_futures=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Checksums of files, made by threads, on edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8012, help="0 lets the kernel choose (default: %(default)s)")
    parser.add_argument("--files", type=Path, default=Path("."), help="their directory (default: this one)")
    parser.add_argument("--threads", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--max-pending", type=int, default=256, help="then busy (default: %(default)s)")
    parser.add_argument("--max-connections", type=int, default=1000, help="then new ones wait (default: %(default)s)")
    parser.add_argument("--write-timeout", type=float, default=30.0, help="seconds (default: %(default)s)")
    arguments = parser.parse_args()
    limits = {name: getattr(arguments, name) for name in ("max_connections", "write_timeout")}
    checksums = Checksums(arguments.files, arguments.threads, arguments.max_pending)
    edgeloop.run(serve(checksums, arguments.host, arguments.port, limits))
