r"""A small HTTP service with three faults, and what edgeloop tells of each while it runs: docs/watched-service.md.

    python examples/watched_service.py --port 8011
    curl http://127.0.0.1:8011/slow         # waits a second for a database: slow, but it holds nobody up
    curl http://127.0.0.1:8011/thumbnail    # computes: meanwhile everybody waits
    curl http://127.0.0.1:8011/price        # asks another service, and forgets to close the connection
    curl http://127.0.0.1:8011/stats        # the figures of the loop

What blocks the loop for more than 0.1 s is printed on standard error, with the stack, while it does. In another terminal
``python -m edgeloop top`` shows the loop, and with ``--metrics 9011`` Prometheus can scrape it (edgeloop[prometheus]).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import signal
import time
from typing import Any

import edgeloop

THRESHOLD = 0.1  # seconds
SLOW_SECONDS = 1.0  # that the slow endpoint waits
BUSY_SECONDS = 1.5  # that the other one computes

forgotten: list[asyncio.StreamWriter] = []  # the leak


async def slow() -> dict[str, Any]:
    """Wait for a database. The task sleeps, and the loop serves others."""
    await asyncio.sleep(SLOW_SECONDS)
    return {"rows": 3}


async def thumbnail() -> dict[str, Any]:
    """Scale an image, so to say. Nothing else runs until that is done: it belongs into asyncio.to_thread."""
    return {"digest": render(b"an image").hex()}


def render(image: bytes) -> bytes:
    """Compute, like much that one line calls."""
    end = time.monotonic() + BUSY_SECONDS
    while time.monotonic() < end:
        image = hashlib.sha256(image).digest()
    return image


async def price(port: int) -> dict[str, Any]:
    """Ask the service for prices, here this one, and forget the connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    forgotten.append(writer)
    return {"price": 42}


def stats() -> dict[str, Any]:
    """Some of the loop's figures."""
    figures = edgeloop.stats(asyncio.get_running_loop())
    return {
        "connections": figures.connections,
        "accepts": figures.accepts,
        "utilization": round(figures.utilization, 3),
        "turns": figures.turns,
    }


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one request of one connection."""
    request = await reader.readline()
    while (await reader.readline()).strip():
        pass  # the headers
    if not request:
        writer.close()  # who has forgotten its connection asks nothing
        return
    path = request.split()[1].decode()
    status, found = "200 OK", None
    match path:
        case "/slow":
            found = await slow()
        case "/thumbnail":
            found = await thumbnail()
        case "/price":
            found = await price(writer.get_extra_info("sockname")[1])
        case "/stats":
            found = stats()
        case _:
            status, found = "404 Not Found", {"error": f"no {path} here"}
    body = json.dumps(found).encode() + b"\n"
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()


def serve_metrics(host: str, port: int) -> Any:
    """Return a collector of loops, which Prometheus can scrape: a thread answers, also while a loop is blocked."""
    from prometheus_client import start_http_server

    from edgeloop.metrics.prometheus import LoopCollector

    server, _ = start_http_server(port, host)
    print(f"Metrics at http://{host}:{server.server_port}/metrics", flush=True)
    return LoopCollector()


async def serve(host: str, port: int, collector: Any) -> None:
    """Serve until SIGINT or SIGTERM, with the loop in the collector, if there is one. OSError if the address can't be had."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with edgeloop.watch(loop, THRESHOLD), edgeloop.measure(loop):
        if collector is not None:
            collector.add(loop, "main")
        server = await asyncio.start_server(answer, host, port)
        for listener in server.sockets:
            print("Serving at http://{}:{}".format(*listener.getsockname()[:2]), flush=True)
        await stop.wait()
        server.close()
        for writer in forgotten:
            writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A service with three faults, watched by edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8011, help="0 lets the kernel choose (default: %(default)s)")
    parser.add_argument("--metrics", type=int, metavar="PORT", help="serve Prometheus' metrics there")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    metrics = None if arguments.metrics is None else serve_metrics(arguments.host, arguments.metrics)
    edgeloop.run(serve(arguments.host, arguments.port, metrics))
