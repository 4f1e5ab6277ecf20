"""trio and aiohttp in one thread: sensors report to a trio server, aiohttp shows what they report.

    python examples/trio_guest.py --port 8080 --sensors-port 8009
    printf 'kitchen 21.5\\ncellar 12\\n' | nc -N 127.0.0.1 8009     # a sensor
    curl http://127.0.0.1:8080/                                    # the newest reading of each, as JSON
    curl -N http://127.0.0.1:8080/watch                            # each reading as it comes in

A sensor sends lines of a name and a number for as long as it likes; one that sends something else, or nothing for too long,
is told so and hung up on. edgeloop runs aiohttp, and trio is its guest. (``pip install aiohttp trio``)
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from aiohttp import web
from outcome import Outcome

import edgeloop

LONGEST_LINE = 200  # bytes
SILENCE = 60.0  # seconds without a reading after which a sensor is hung up on
BEHIND = 100  # readings that a watcher may be behind; it misses the oldest


class Readings:
    """What trio puts in and aiohttp takes out. Both are in one thread, so nothing needs a lock."""

    def __init__(self) -> None:
        self.newest: dict[str, float] = {}
        self.watchers: set[asyncio.Queue[str | None]] = set()

    def take(self, line: str) -> None:
        """Take in a sensor's line. ValueError if it is none."""
        try:
            name, value = line.split()
            self.newest[name] = float(value)
        except ValueError:
            raise ValueError(f"a reading is a name and a number, not {line!r}") from None
        self.tell(line)

    def tell(self, line: str | None) -> None:
        """Put the line into the queue of each watcher. None: there will be no more."""
        for watcher in self.watchers:
            if watcher.full():
                watcher.get_nowait()
            # A method of asyncio's, called by a task of trio's: it only schedules the task that waits for it.
            watcher.put_nowait(line)


# trio's side


async def listen(readings: Readings, sensors: socket.socket, until: trio.CancelScope) -> None:
    """Serve sensors on the listening socket until the scope is cancelled."""
    with until:

        async def visit(stream: trio.SocketStream) -> None:
            await hear(readings, stream)

        await trio.serve_listeners(visit, [trio.SocketListener(trio.socket.from_stdlib_socket(sensors))])


async def hear(readings: Readings, stream: trio.SocketStream) -> None:
    """One sensor, from its first reading to its last."""
    rest = b""
    try:
        while True:
            with trio.fail_after(SILENCE):
                chunk = await stream.receive_some()
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                readings.take(line.decode())
            if len(rest) > LONGEST_LINE:
                raise ValueError(f"a line has at most {LONGEST_LINE} bytes")
    except (ValueError, trio.TooSlowError) as reason:
        with trio.move_on_after(1):
            await stream.send_all(f"goodbye: {str(reason) or 'nothing was heard of you'}\n".encode())
    except trio.BrokenResourceError:
        pass  # the sensor is gone, there is nobody left to tell


# aiohttp's side


def application(readings: Readings, sensors: socket.socket) -> web.Application:
    async def show(request: web.Request) -> web.Response:
        return web.json_response({"sensors": sensors.getsockname()[:2], "newest": readings.newest})

    async def watch(request: web.Request) -> web.StreamResponse:
        """Server-sent events, one for each reading."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        lines: asyncio.Queue[str | None] = asyncio.Queue(BEHIND)
        readings.watchers.add(lines)
        try:
            await response.prepare(request)
            while (line := await lines.get()) is not None:
                await response.write(f"data: {line}\n\n".encode())
        except ConnectionError:
            pass
        finally:
            readings.watchers.discard(lines)
        return response

    async def end_watches(app: web.Application) -> None:
        readings.tell(None)

    app = web.Application()
    app.add_routes([web.get("/", show), web.get("/watch", watch)])
    app.on_shutdown.append(end_watches)
    return app


# Both together


def beside(function: Callable[..., Awaitable[Any]], *args: Any) -> asyncio.Future[Outcome[Any]]:
    """Run ``function(*args)`` in trio, beside the loop that runs; the future gets how it ended."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Outcome[Any]] = loop.create_future()
    trio.lowlevel.start_guest_run(
        function,
        *args,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=ended.set_result,
        host_uses_signal_set_wakeup_fd=True,
    )
    return ended


async def serve(host: str, port: int, sensors_port: int) -> None:
    """Serve sensors and browsers until SIGINT or SIGTERM. OSError if an address can't be had."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    readings = Readings()
    with socket.create_server((host, sensors_port)) as sensors:
        runner = web.AppRunner(application(readings, sensors), shutdown_timeout=5)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            until = trio.CancelScope()
            trio_ended = beside(listen, readings, sensors, until)
            trio_ended.add_done_callback(lambda _: stop.set())  # also when something fails there
            for address in runner.addresses:
                print("Readings at http://{}:{}".format(*address[:2]), flush=True)
            print("Sensors at {}:{}".format(*sensors.getsockname()[:2]), flush=True)
            await stop.wait()
            until.cancel()
            (await trio_ended).unwrap()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sensors on trio, their readings on aiohttp, all on edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="of the web server (default: %(default)s)")
    parser.add_argument(
        "--sensors-port", type=int, default=8009, help="0 lets the kernel choose (default: %(default)s)"
    )
    arguments = parser.parse_args()
    edgeloop.run(serve(arguments.host, arguments.port, arguments.sensors_port))
