"""What a callback causes is there in the next turn, whether that turn would have left its wait out or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from recording import turn
from sockets import Pair

pytestmark = pytest.mark.fair_weather  # an event that comes a turn later has its callback run later

Loop = asyncio.AbstractEventLoop


def after(loop: Loop, turns: int, cause: Callable[[Callable[[], object]], object]) -> int:
    """Run turns with a callback each, one of which calls ``cause``. Return how many later its argument is called."""
    number = 0
    came: list[int] = []

    def tick() -> None:
        nonlocal number
        number += 1
        if number == turns:
            cause(lambda: came.append(number))
        if number < turns + 6:
            loop.call_soon(tick)
        else:
            loop.stop()

    loop.call_soon(tick)
    loop.run_forever()
    return came[0] - turns


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
def test_a_timer_that_is_due_runs_in_the_next_turn(loop: Loop, turns: int) -> None:
    assert after(loop, turns, lambda then: loop.call_at(loop.time() - 1, then)) == 1


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
@pytest.mark.parametrize("registered", [False, True])
def test_a_reader_of_what_is_there_is_called_in_the_next_turn(
    loop: Loop, pair: Pair, registered: bool, turns: int
) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    if registered:  # for something else, which does not come
        while True:
            try:
                ours.send(bytes(65536))
            except BlockingIOError:
                break
        loop.add_writer(ours, int)

    def read(then: Callable[[], object]) -> None:
        loop.add_reader(ours, lambda: (then(), loop.remove_reader(ours)))

    assert after(loop, turns, read) == 1
    loop.remove_writer(ours)


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
def test_what_a_transport_gets_by_a_write_of_this_loop_comes_in_the_next_turn(
    loop: Loop, pair: Pair, turns: int
) -> None:
    class Receiving(asyncio.Protocol):
        then: Callable[[], object] = staticmethod(int)

        def data_received(self, data: bytes) -> None:
            self.then()

    ours, theirs = pair
    protocol = Receiving()
    receiving, _ = loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
    sending, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=theirs))

    def write(then: Callable[[], object]) -> None:
        protocol.then = then
        sending.write(b"x")

    assert after(loop, turns, write) == 1
    receiving.close()
    sending.close()
    turn(loop, 3)


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
@pytest.mark.parametrize("how", ["close", "abort"])
def test_the_other_end_learns_of_an_end_in_the_turn_after_connection_lost(
    loop: Loop, pair: Pair, how: str, turns: int
) -> None:
    class Receiving(asyncio.Protocol):
        then: Callable[[], object] = staticmethod(int)

        def eof_received(self) -> None:
            self.then()

    ours, theirs = pair
    protocol = Receiving()
    loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
    ending, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=theirs))

    def end(then: Callable[[], object]) -> None:
        protocol.then = then
        getattr(ending, how)()

    assert after(loop, turns, end) == 2
    turn(loop, 3)


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["transport", "reader"])
def test_what_the_program_causes_by_itself_comes_in_one_of_the_next_two_turns(
    loop: Loop, pair: Pair, kind: str, turns: int
) -> None:
    """However many callbacks there are: no turn but every second one leaves its wait out."""

    class Receiving(asyncio.Protocol):
        then: Callable[[], object] = staticmethod(int)

        def data_received(self, data: bytes) -> None:
            self.then()

    ours, theirs = pair
    protocol = Receiving()
    if kind == "transport":
        receiving, _ = loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
    else:
        loop.add_reader(ours, lambda: protocol.data_received(ours.recv(10)))

    def send(then: Callable[[], object]) -> None:
        protocol.then = then
        theirs.send(b"x")

    assert after(loop, turns, send) in (1, 2)
    if kind == "transport":
        receiving.abort()
        turn(loop, 2)
    else:
        loop.remove_reader(ours)
