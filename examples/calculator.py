"""A calculator over TCP: requests are cut by the letter X, and so are the answers.

    python examples/calculator.py --port 8011
    printf '100+98X14+23X1/3+1/6X7/0X' | nc -N 127.0.0.1 8011      # 198X37X1/2Xerror: division by zeroX

TCP carries bytes and no requests: one may arrive in pieces, and several at once. The calculator knows whole numbers, + - * /
and that * and / come first. Its answers are exact: fractions stay fractions.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
from fractions import Fraction
from typing import Any, cast

import edgeloop

SEPARATOR = b"X"
MAX_REQUEST = 1000  # bytes; what is longer is answered with an error, and never kept
REQUESTS_PER_TURN = 16  # of one client that sends many at once: then it is the turn of the others
GRACE = 5.0  # seconds that answers under way have when the server stops

PIECE = re.compile(rb"\s*([-+]?\d+)\s*([-+*/]|\Z)")  # a number, and the operator behind it


def calculate(request: bytes) -> Fraction:
    """Return the value of ``1+2*3/4``. ValueError says what is wrong with it."""
    total, product, operator, place = Fraction(0), Fraction(1), b"*", 0
    while True:
        piece = PIECE.match(request, place)
        if piece is None:
            raise ValueError("not a calculation")
        number = int(piece[1])
        if operator == b"*":
            product *= number
        elif operator != b"/":
            total, product = total + product, Fraction(number if operator == b"+" else -number)
        elif number:
            product /= number
        else:
            raise ValueError("division by zero")
        operator, place = piece[2], piece.end()
        if not operator:
            return total + product


def answer(request: bytes) -> bytes:
    try:
        if len(request) > MAX_REQUEST:
            raise ValueError(f"longer than {MAX_REQUEST} bytes")
        return str(calculate(request)).encode() + SEPARATOR
    except ValueError as reason:
        return f"error: {reason}".encode() + SEPARATOR


class Calculator(asyncio.Protocol):
    """One connection. ``buffer`` has what arrived and is not answered: at most what one read brings, and one request."""

    def __init__(self) -> None:
        self.buffer = b""
        self.too_long = False  # the request under way has been answered with an error: its rest is skipped
        self.full = False  # the client doesn't read its answers
        self.ended = False  # the client sends no more
        self.draining = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.work()

    def eof_received(self) -> bool:
        self.ended = True
        self.work()
        return True  # work() closes, when all is answered

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.work()

    def server_draining(self) -> None:
        """The server stops: what has arrived is answered."""
        self.draining = True
        self.work()

    def work(self) -> None:
        """Answer what is whole, up to a number of requests. Nothing more is read before they are answered."""
        if self.transport.is_closing():
            return
        if not self.full:
            *whole, rest = self.buffer.split(SEPARATOR, REQUESTS_PER_TURN)
            if whole and self.too_long:
                self.too_long = False
                del whole[0]
            answers = [answer(request) for request in whole]
            if SEPARATOR not in rest and (len(rest) > MAX_REQUEST or self.too_long):
                if not self.too_long:
                    answers.append(answer(rest))
                self.too_long, rest = True, b""
            self.buffer = rest
            self.transport.write(b"".join(answers))
        if self.full:
            self.transport.pause_reading()
        elif SEPARATOR in self.buffer:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.work)
        elif self.ended or self.draining:
            if self.ended and self.buffer.strip():
                self.transport.write(b"error: no X behind it" + SEPARATOR)
            self.transport.close()
        else:
            self.transport.resume_reading()


async def serve(host: str, port: int, limits: dict[str, Any]) -> None:
    """Calculate on ``host`` and ``port`` until SIGINT or SIGTERM. OSError if the address can't be had."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, edgeloop.EventLoop)  # limits and drain() are its own
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(Calculator, host, port, **limits)
    for listener in server.sockets:
        print("Calculator at {}:{}".format(*listener.getsockname()[:2]), flush=True)
    await stop.wait()
    await server.drain(GRACE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A calculator over TCP, on edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8011, help="0 lets the kernel choose (default: %(default)s)")
    parser.add_argument("--max-connections", type=int, default=1000, help="then new ones wait (default: %(default)s)")
    parser.add_argument("--idle-timeout", type=float, default=60.0, help="seconds (default: %(default)s)")
    parser.add_argument("--write-timeout", type=float, default=30.0, help="seconds (default: %(default)s)")
    arguments = parser.parse_args()
    limits = {name: getattr(arguments, name) for name in ("max_connections", "idle_timeout", "write_timeout")}
    edgeloop.run(serve(arguments.host, arguments.port, limits))
