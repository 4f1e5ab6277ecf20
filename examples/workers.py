"""Several processes that serve one port, and the process that keeps them: a prefork server in one file.

    python examples/workers.py --port 8080 --workers 4
    curl http://127.0.0.1:8080/                   # which process has answered
    kill -HUP PID                                 # new processes with the code as it is now; no request fails
    kill -TERM PID                                # the end: requests under way are answered

Each worker has a listening socket of its own on the port (SO_REUSEPORT), and the kernel spreads connections evenly over them.
The parent makes the sockets and keeps each open, because the kernel resets what waits in a socket that is closed: when a
worker ends, for whatever reason, its successor takes the same socket, and with it the clients that wait there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from typing import cast

import edgeloop

BACKLOG = 1024  # connections that wait in one socket
FIRST_DELAY, LONGEST_DELAY = 0.1, 10.0  # seconds until a worker that has died is replaced: twice as long each time
HEALTHY = 10.0  # seconds after which a worker's death begins that series again
READY = 30.0  # seconds that a new worker has to come up; else the old one goes on
GRACE = 30.0  # seconds that a worker's connections have when it ends
MAX_HEAD = 8192  # bytes of a request


def say(text: str) -> None:
    print(f"[{os.getpid()}] {text}", file=sys.stderr, flush=True)


# The worker


class Answers(asyncio.Protocol):
    """One connection: says which process answers. ``/slow`` takes half a second for that."""

    def __init__(self) -> None:
        self.buffer = b""
        self.draining = False
        self.busy: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy is not None:
            self.busy.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.busy is None:
            self.next_request()

    def server_draining(self) -> None:
        # An idle connection is not closed here: a request may be on its way. It gets its answer, with "Connection: close".
        self.draining = True

    def next_request(self) -> None:
        self.busy = None
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            if len(head) > MAX_HEAD:
                self.transport.abort()
            self.transport.resume_reading()
            return
        self.buffer = rest
        self.transport.pause_reading()
        delay = 0.5 if head.startswith(b"GET /slow ") else 0.0
        self.busy = asyncio.get_running_loop().call_later(delay, self.answer)

    def answer(self) -> None:
        body = b"%d\n" % os.getpid()
        close = b"Connection: close\r\n" if self.draining else b""
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), close, body))
        if close:
            self.transport.close()
        else:
            self.next_request()


async def work(listener: socket.socket) -> None:
    """Accept from the socket until SIGTERM, or until the parent has died."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, edgeloop.EventLoop)  # limits and drain() are its own
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(0, stop.set)  # the parent holds the other end of this pipe and writes nothing: it is the end
    server = await loop.create_server(Answers, sock=listener, backlog=BACKLOG)
    print("ready", flush=True)
    await stop.wait()
    loop.remove_reader(0)
    await server.drain(GRACE)


# The parent


class Slot:
    """One listening socket, and the worker that accepts from it now. Owns both."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.worker: Process | None = None
        self.leaving: set[Process] = set()  # told to end by a rolling restart
        self.changing = asyncio.Lock()  # held while a worker is started
        self.up = asyncio.Event()  # the first worker has come up
        self.stopping = asyncio.Event()

    async def start(self) -> Process | None:
        """Start a worker and wait until it accepts. None if it doesn't come up."""
        fd = self.listener.fileno()
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            os.path.abspath(__file__),
            "--listener",
            str(fd),
            pass_fds=(fd,),
            stdin=PIPE,
            stdout=PIPE,
            process_group=0,  # a Ctrl-C in the terminal is for the parent, which passes it on
        )
        assert worker.stdout is not None
        try:
            async with asyncio.timeout(READY):
                if await worker.stdout.readline() == b"ready\n":
                    return worker
        except TimeoutError:
            worker.kill()
        say(f"worker {worker.pid} did not come up: {await worker.wait()}")
        return None

    async def keep(self) -> None:
        """Replace each worker that dies; later and later while they die young."""
        delay = FIRST_DELAY
        while not self.stopping.is_set():
            began = time.monotonic()
            async with self.changing:
                if self.worker is None and not self.stopping.is_set():
                    self.worker = await self.start()
            worker = self.worker
            if worker is not None:
                self.up.set()
                code = await worker.wait()
                if worker is not self.worker or self.stopping.is_set():
                    self.leaving.discard(worker)
                    continue
                self.worker = None
                say(f"worker {worker.pid} has ended with {code}")
            if time.monotonic() - began >= HEALTHY:
                delay = FIRST_DELAY
            try:
                await asyncio.wait_for(self.stopping.wait(), delay)
            except TimeoutError:
                delay = min(delay * 2, LONGEST_DELAY)

    async def replace(self) -> None:
        """Have a new worker accept, and then the old one end. If the new one doesn't come up, the old one stays."""
        async with self.changing:
            former = self.worker
            if former is None or self.stopping.is_set():
                return  # keep() starts one
            successor = await self.start()
            if successor is None:
                return
            self.worker = successor
            self.leaving.add(former)
        say(f"worker {successor.pid} follows {former.pid}")
        terminate(former)

    async def stop(self) -> None:
        """Let the worker answer what it has, and end."""
        self.stopping.set()
        async with self.changing:
            workers = [*self.leaving, *([self.worker] if self.worker else [])]
            self.listener.close()  # the workers have the last ones: who comes from now on is refused, and doesn't hang
        for worker in workers:
            terminate(worker)
        try:
            async with asyncio.timeout(GRACE + 5):
                await asyncio.gather(*(worker.wait() for worker in workers))
        except TimeoutError:
            for worker in workers:
                if worker.returncode is None:
                    worker.kill()


def terminate(worker: Process) -> None:
    try:
        worker.terminate()
    except ProcessLookupError:
        pass  # it has died meanwhile


def listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """Return as many sockets, all on one port. OSError if it can't be had."""
    made: list[socket.socket] = []
    for _ in range(count):
        listener = socket.create_server((host, port), reuse_port=True, backlog=BACKLOG)
        made.append(listener)
        port = listener.getsockname()[1]  # 0 was asked for: the others take the same
    return made


async def keep_workers(host: str, port: int, count: int) -> None:
    """Keep ``count`` workers until SIGINT or SIGTERM; SIGHUP replaces them, one after the other."""
    loop = asyncio.get_running_loop()
    stop, again = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    slots = [Slot(listener) for listener in listeners(host, port, count)]
    address = slots[0].listener.getsockname()
    keeping = [asyncio.create_task(slot.keep()) for slot in slots]

    async def restart() -> None:
        while True:
            await again.wait()
            again.clear()
            edgeloop.notify("RELOADING=1")  # to systemd, if it has started this process
            for slot in slots:
                await slot.replace()
            edgeloop.notify("READY=1")

    async def announce() -> None:
        for slot in slots:
            await slot.up.wait()
        print("Workers at http://{}:{}/".format(*address[:2]), flush=True)
        edgeloop.notify("READY=1")

    others = [asyncio.create_task(restart()), asyncio.create_task(announce())]
    await stop.wait()
    edgeloop.notify("STOPPING=1")
    for task in others:
        task.cancel()
    await asyncio.gather(*(slot.stop() for slot in slots))
    await asyncio.gather(*keeping)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Several processes on one port, on edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 lets the kernel choose (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    parser.add_argument("--listener", type=int, help=argparse.SUPPRESS)  # a worker's, inherited
    arguments = parser.parse_args()
    if arguments.listener is not None:
        edgeloop.run(work(socket.socket(fileno=arguments.listener)))
    else:
        edgeloop.run(keep_workers(arguments.host, arguments.port, arguments.workers))
