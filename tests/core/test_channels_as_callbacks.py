"""A channel's events as a callback, which a ``Handle._run`` that a program has put there calls (core/observer.py)."""

from __future__ import annotations

import pytest

import edgeloop
from edgeloop.core.channel import Channel

pytestmark = [
    pytest.mark.edgeloop_only,
    pytest.mark.skipif(edgeloop.EDITION == "compiled", reason="a Channel's attributes are C's there"),
]


class Failing(Channel):
    """Raises, and may be removed before that."""

    def __init__(self, error: type[BaseException] | None, removes: bool = False) -> None:
        super().__init__(-1)
        self.added = True
        self.error = error
        self.removes = removes
        self.calls = 0

    def on_ready(self) -> None:
        self.calls += 1
        self.added = not self.removes
        if self.error is not None:
            raise self.error


class Deferring:
    """A reactor that keeps what was deferred."""

    def __init__(self) -> None:
        self.deferred: list[Channel] = []

    def defer(self, channel: Channel) -> None:
        self.deferred.append(channel)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_one_that_raises_is_called_again_in_the_next_turn(error: type[BaseException]) -> None:
    """It may have done one half of its event."""
    reactor, channel = Deferring(), Failing(error)
    with pytest.raises(error):
        channel.handle_events(reactor)
    assert (channel.calls, reactor.deferred) == (1, [channel])


def test_one_that_is_gone_is_not() -> None:
    reactor, channel = Deferring(), Failing(RuntimeError, removes=True)
    with pytest.raises(RuntimeError):
        channel.handle_events(reactor)
    assert (channel.calls, reactor.deferred) == (1, [])


def test_one_that_raises_nothing_is_done() -> None:
    reactor, channel = Deferring(), Failing(None)
    channel.handle_events(reactor)
    assert (channel.calls, reactor.deferred) == (1, [])


def test_a_new_channel_has_no_news_and_can_be_written_to() -> None:
    channel = Channel(7)
    assert (channel.fd, channel.readable, channel.writable, channel.hangup, channel.urgent) == (
        7,
        False,
        True,
        False,
        False,
    )
    assert (channel.deferred, channel.flush_queued, channel.rearm_queued, channel.added) == (False,) * 4
    assert (channel.kind, channel.credit) == (0, 0)
