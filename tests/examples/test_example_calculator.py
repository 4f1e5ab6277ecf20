"""examples/calculator.py: requests that are cut by a separator, however they arrive."""

from __future__ import annotations

import asyncio
import fcntl
import random
import select
import signal
import socket
import struct
import termios
from typing import Any

import pytest
from example_modules import example_module
from example_process import ExampleProcess, example_of_a_module, example_of_a_test
from recording import Run
from sockets import Pair

pytestmark = pytest.mark.edgeloop_only  # limits of the server, and drain

calculator = example_of_a_module("calculator.py")
own = example_of_a_test("calculator.py")
small = example_of_a_test("calculator.py", "--max-connections", "2")
impatient = example_of_a_test("calculator.py", "--idle-timeout", "0.3")

REQUESTS = b"100+98X14+23X2+3*4-6/4X-5*-3X7/0X(1)X 1 - 2 XX1+X"
ANSWERS = (
    b"198X37X25/2X15Xerror: division by zeroXerror: not a calculationX-1X"
    b"error: not a calculationXerror: not a calculationX"
)


def connected(server: ExampleProcess) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=30)


def asked(server: ExampleProcess, data: bytes) -> bytes:
    """Send the data, close the sending half, return all that comes."""
    with connected(server) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


def test_the_reading_lists_requests_are_answered(calculator: ExampleProcess) -> None:
    assert asked(calculator, b"100+98X14+23X") == b"198X37X"


def test_several_requests_in_one_packet_are_answered_in_order(calculator: ExampleProcess) -> None:
    assert asked(calculator, REQUESTS) == ANSWERS


async def conversation(pair: Pair, parts: list[bytes]) -> bytes:
    """Let a Calculator read the parts one by one; return what it has answered."""
    ours, theirs = pair
    protocol = example_module("calculator.py").Calculator()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
    for part in parts:
        theirs.sendall(part)
        # Only when it has been read the next part is one of its own.
        while struct.unpack("i", fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, b"1234"))[
            0
        ]:
            await asyncio.sleep(0)
        while b"X" in protocol.buffer:
            await asyncio.sleep(0)
    theirs.shutdown(socket.SHUT_WR)
    found = b""
    while data := await loop.sock_recv(theirs, 65_536):
        found += data
    return found


@pytest.mark.parametrize("place", range(1, len(REQUESTS)))
def test_a_request_that_is_split_is_one_request(run: Run, pair: Pair, place: int) -> None:
    assert run(conversation(pair, [REQUESTS[:place], REQUESTS[place:]])) == ANSWERS


def test_requests_that_come_byte_by_byte_are_answered(run: Run, pair: Pair) -> None:
    assert run(conversation(pair, [REQUESTS[place : place + 1] for place in range(len(REQUESTS))])) == ANSWERS


def test_thousands_of_requests_that_nobody_reads_the_answers_of_are_answered_later(calculator: ExampleProcess) -> None:
    numbers = random.Random(20)
    sums = [(numbers.randrange(10**30), numbers.randrange(10**30)) for _ in range(40_000)]
    data = b"".join(b"%d+%dX" % pair for pair in sums)
    with connected(calculator) as client:
        client.setblocking(False)
        # Until the kernel's buffers are full on the whole way: the server has stopped to read.
        sent = answered = 0
        received = []
        while answered < len(sums):
            readable, writable, _ = select.select([client], [client] if sent < len(data) else [], [], 30)
            assert readable or writable
            if writable:
                sent += client.send(data[sent : sent + 1_000_000])
            else:
                received.append(client.recv(1_000_000))
                answered += received[-1].count(b"X")
    assert b"".join(received) == b"".join(b"%dX" % (one + other) for one, other in sums)


def test_a_request_that_is_too_long_is_answered_with_an_error_and_not_kept(calculator: ExampleProcess) -> None:
    error = b"error: longer than 1000 bytesX"
    assert asked(calculator, b"1+" * 499 + b"11X2X") == b"510X2X"
    assert asked(calculator, b"1+" * 500 + b"11X2X") == error + b"2X"
    assert asked(calculator, b"1" * 3_000_000 + b"X2X" + b"1" * 2000) == error + b"2X" + error


def test_a_request_without_an_end_is_answered_with_an_error(calculator: ExampleProcess) -> None:
    assert asked(calculator, b"1+2X3+4") == b"3Xerror: no X behind itX"
    assert asked(calculator, b"1+2X\n") == b"3X"


@pytest.mark.parametrize(
    "request_",
    [b"__import__('os')", b"1**2", b"0x10", b"1e5", b"1.5", b"1_000", b"\xd9\xa1", b"1+\x00", b"1 2", b"+", b"1//2"],
)
def test_what_is_no_calculation_is_answered_with_an_error(calculator: ExampleProcess, request_: bytes) -> None:
    expected = b"error: not a calculationX"
    if b"X" in request_.upper() and request_ == b"0x10":
        assert asked(calculator, request_ + b"X") == expected
        return
    assert asked(calculator, request_ + b"X5-3X") == expected + b"2X"


def test_a_client_too_many_waits_until_another_leaves(small: ExampleProcess) -> None:
    with connected(small) as first, connected(small) as second:
        for client in (first, second):
            client.sendall(b"1+1X")
            assert client.recv(100) == b"2X"
        with connected(small) as third:
            third.sendall(b"2+2X")
            first.sendall(b"3+3X")
            assert first.recv(100) == b"6X"
            assert select.select([third], [], [], 0)[0] == []
            first.close()
            assert third.recv(100) == b"4X"


def test_an_idle_client_is_put_out(impatient: ExampleProcess) -> None:
    with connected(impatient) as client:
        client.sendall(b"1+1X")
        assert client.recv(100) == b"2X"
        try:
            assert client.recv(100) == b""
        except ConnectionResetError:
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_with_clients_that_are_idle(own: ExampleProcess, number: signal.Signals) -> None:
    with connected(own) as client:
        client.sendall(b"1+1X2+")
        assert client.recv(100) == b"2X"
        own.process.send_signal(number)
        assert client.recv(100) == b""
        assert own.process.wait(30) == 0


def test_values() -> None:
    calculate: Any = example_module("calculator.py").calculate
    for text, value in {b"2-3-4": -5, b"8/4/2": 1, b"2*3+4*5": 26, b"1--1": 2, b"-2*-2": 4, b"0/5": 0}.items():
        assert calculate(text) == value
