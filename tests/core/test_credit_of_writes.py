"""Rule 5 on a clock that a test moves: which callbacks earn gathering, which forfeit it, and what is sent when they end.

The compiled edition reads its clock in C. There test_when_bytes_leave.py says what comes of it.
"""

from __future__ import annotations

import threading

import pytest

import edgeloop
from edgeloop.core.channel import Channel
from edgeloop.core.gathering import Gathering
from edgeloop.kernel import calls

pytestmark = [
    pytest.mark.edgeloop_only,
    pytest.mark.skipif(edgeloop.EDITION != "pure", reason="the compiled edition reads its clock in C"),
]

# As in core/gathering.py, whose constants are no attributes of the compiled module.
SHORT_SECONDS = 100e-6
EARNED = 4
FORFEITED = -256
CAUTIOUS_CALLBACKS = 16

SHORT = SHORT_SECONDS / 4
LONG = 2e-3


class Clock:
    """What the time is, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0


class Writer(Channel):
    """A channel that notes how often it is flushed, and whether its bytes were late. It may be told to fail, once."""

    def __init__(self, gathering: Gathering, credit: int = 0) -> None:
        super().__init__(-1)
        self.gathering = gathering
        self.credit = credit
        self.flushes: list[bool] = []
        self.fails = False

    def flush(self) -> None:
        self.flushes.append(self.gathering.late)
        if self.fails:
            self.fails = False
            raise KeyboardInterrupt


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(calls, "now", lambda: clock.now)
    return clock


@pytest.fixture
def gathering() -> Gathering:
    gathering = Gathering()
    gathering.thread = threading.get_ident()
    return gathering


def callback(gathering: Gathering, clock: Clock, seconds: float, *writers: Writer) -> None:
    """A callback that begins with a write to each, and goes on for so many seconds."""
    for writer in writers:
        gathering.schedule_flush(writer)
    clock.now += seconds
    gathering.callback_ended()


def test_a_few_short_callbacks_in_a_row_earn_gathering(gathering: Gathering, clock: Clock) -> None:
    writer = Writer(gathering)
    for _ in range(EARNED):
        assert not gathering.may_gather(writer)
        callback(gathering, clock, SHORT, writer)
        gathering.flush()
    assert gathering.may_gather(writer)
    callback(gathering, clock, SHORT, writer)
    assert writer.credit == EARNED  # not more: it can be forfeited at once


def test_a_callback_that_is_neither_short_nor_long_earns_and_forfeits_nothing(
    gathering: Gathering, clock: Clock
) -> None:
    for credit in (FORFEITED, 0, EARNED - 1, EARNED):
        writer = Writer(gathering, credit)
        callback(gathering, clock, SHORT_SECONDS * 2, writer)
        assert (writer.credit, writer.flushes) == (credit, [False])


@pytest.mark.parametrize(
    ("before", "after"), [(EARNED, FORFEITED), (EARNED - 1, 0), (0, 0), (-1, -1), (FORFEITED + 1, FORFEITED + 1)]
)
def test_a_long_callback_forfeits_what_was_earned(gathering: Gathering, clock: Clock, before: int, after: int) -> None:
    writer = Writer(gathering, before)
    callback(gathering, clock, LONG, writer)
    assert (writer.credit, writer.flushes) == (after, [True])
    assert not gathering.late


def test_who_writes_is_judged_by_its_own_callback(gathering: Gathering, clock: Clock) -> None:
    """Not by how long those before it were."""
    first, second, third = writers = [Writer(gathering) for _ in range(3)]
    for writer in writers:
        callback(gathering, clock, SHORT, writer)
    assert [writer.credit for writer in writers] == [1, 1, 1]
    assert [writer.flushes for writer in writers] == [[], [], []]
    gathering.flush()
    callback(gathering, clock, SHORT, first)
    callback(gathering, clock, LONG, second)
    callback(gathering, clock, SHORT, third)
    assert [writer.credit for writer in writers] == [2, 0, 2]
    for writer in writers:
        callback(gathering, clock, SHORT_SECONDS * 0.6, writer)
    assert [writer.credit for writer in writers] == [3, 1, 3]


def test_what_is_gathered_waits_for_short_callbacks_until_they_are_long_together(
    gathering: Gathering, clock: Clock
) -> None:
    first, *others = [Writer(gathering, EARNED) for _ in range(4)]
    callback(gathering, clock, SHORT, first)
    for other in others[:2]:
        callback(gathering, clock, SHORT, other)
        assert first.flushes == []
    callback(gathering, clock, SHORT * 2, others[2])
    assert first.flushes == [False]


def test_after_a_callback_that_was_not_short_the_next_ones_send_when_they_end(
    gathering: Gathering, clock: Clock
) -> None:
    callback(gathering, clock, SHORT_SECONDS * 2, Writer(gathering, EARNED))
    for _ in range(CAUTIOUS_CALLBACKS):
        writer = Writer(gathering, EARNED)
        callback(gathering, clock, SHORT, writer)
        assert writer.flushes == [False]
    writer = Writer(gathering, EARNED)
    callback(gathering, clock, SHORT, writer)
    assert writer.flushes == []


def test_a_new_gathering_is_not_cautious(gathering: Gathering, clock: Clock) -> None:
    writer = Writer(gathering, EARNED)
    callback(gathering, clock, SHORT, writer)
    assert writer.flushes == []
    gathering.flush()
    assert writer.flushes == [False]


def test_bytes_are_late_once(gathering: Gathering, clock: Clock) -> None:
    """Also if who sends them then is interrupted: the next ones are judged anew."""
    late, later = Writer(gathering, EARNED), Writer(gathering, EARNED)
    late.fails = True
    with pytest.raises(KeyboardInterrupt):
        callback(gathering, clock, LONG, late)
    gathering.schedule_flush(later)
    gathering.flush()
    assert (late.flushes, later.flushes) == ([True], [False])


def test_a_write_long_after_the_callback_began_is_overdue(gathering: Gathering, clock: Clock) -> None:
    writer = Writer(gathering, EARNED)
    gathering.schedule_flush(writer)
    assert not gathering.is_overdue(writer)
    clock.now += SHORT_SECONDS * 2
    assert gathering.is_overdue(writer)
    assert writer.credit == EARNED
    clock.now += LONG
    assert gathering.is_overdue(writer)
    assert writer.credit == FORFEITED


def test_a_callback_is_overdue_by_its_own_time(gathering: Gathering, clock: Clock) -> None:
    first, second = Writer(gathering, EARNED), Writer(gathering, EARNED)
    for _ in range(2):
        callback(gathering, clock, SHORT_SECONDS * 0.4, first)
    gathering.schedule_flush(second)
    clock.now += SHORT_SECONDS * 0.4
    assert not gathering.is_overdue(second)


@pytest.mark.parametrize("interrupted", [0, 1, 2])
def test_an_interrupted_flush_goes_on_with_those_that_were_not_asked(
    gathering: Gathering, clock: Clock, interrupted: int
) -> None:
    writers = [Writer(gathering, EARNED) for _ in range(3)]
    for writer in writers:
        gathering.schedule_flush(writer)
    writers[interrupted].fails = True
    with pytest.raises(KeyboardInterrupt):
        gathering.flush()
    gathering.flush()
    assert [writer.flushes for writer in writers] == [[False]] * 3
    gathering.schedule_flush(writers[0])  # the queue serves on
    gathering.flush()
    assert [len(writer.flushes) for writer in writers] == [2, 1, 1]


def test_what_an_interrupted_flush_has_left_comes_first(gathering: Gathering, clock: Clock) -> None:
    order: list[str] = []

    class Named(Channel):
        def __init__(self, name: str) -> None:
            super().__init__(-1)
            self.name = name

        def flush(self) -> None:
            order.append(self.name)
            if self.name == "interrupted":
                raise KeyboardInterrupt

    for name in ("interrupted", "left", "left too"):
        gathering.schedule_flush(Named(name))
    with pytest.raises(KeyboardInterrupt):
        gathering.flush()
    for name in ("new", "newer"):
        gathering.schedule_flush(Named(name))
    gathering.flush()
    assert order == ["interrupted", "left", "left too", "new", "newer"]


def test_who_writes_twice_is_flushed_once(gathering: Gathering, clock: Clock) -> None:
    writer = Writer(gathering, EARNED)
    for _ in range(2):
        gathering.schedule_flush(writer)
    gathering.flush()
    assert writer.flushes == [False]


class Full(list[Channel]):
    """A list that finds no memory for another item."""

    def append(self, item: Channel) -> None:
        raise MemoryError


def test_a_channel_that_found_no_memory_for_its_place_can_be_queued_later(gathering: Gathering, clock: Clock) -> None:
    writer = Writer(gathering, EARNED)
    gathering.flush_queue = Full()
    with pytest.raises(MemoryError):
        gathering.schedule_flush(writer)
    gathering.flush_queue = []
    gathering.schedule_flush(writer)
    gathering.flush()
    assert writer.flushes == [False]


def test_only_the_loops_thread_gathers_and_sends(gathering: Gathering, clock: Clock) -> None:
    writer = Writer(gathering, EARNED)
    answers: list[tuple[bool, bool]] = []
    gathering.schedule_flush(writer)

    def ask() -> None:
        answers.append((gathering.may_gather(writer), gathering.may_send()))
        gathering.push()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert (answers, writer.flushes) == ([(False, False)], [])
    assert gathering.may_gather(writer) and gathering.may_send()
    gathering.push()
    assert writer.flushes == [False]
    gathering.thread = 0  # no thread runs the loop
    assert not gathering.may_gather(writer) and gathering.may_send()
