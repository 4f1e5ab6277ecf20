"""Each rule of docs/edges.md, broken, and what each oracle watches for: the campaign must notice.

A break replaces one name of the pure edition. It is imported when edgeloop is on the simulated kernel already.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import edgeloop.core.gathering as gathering
import edgeloop.core.reactor as reactor
import edgeloop.core.schedule as schedule
import edgeloop.core.timer_heap as timer_heap
import edgeloop.kernel.calls as calls
import edgeloop.kernel.epoll as epoll
import edgeloop.loop.watch as watch
import edgeloop.serving.listener as listener
import edgeloop.transports.base as base
import edgeloop.transports.flow as flow
import edgeloop.transports.stream as stream


def _no_del(self: Any, fd: int) -> None:
    pass


def _forget_the_rest(self: Any) -> None:
    self.readable = False


_on_ready = stream.StreamTransport.on_ready


def _read_until_empty(self: Any) -> None:
    _on_ready(self)
    while self.deferred and self.readable and not self._paused and self._state == base.OPEN:
        _on_ready(self)


def _wait_without_arming(self: Any) -> None:
    self.writable = False


def _never_flush(self: Any) -> None:
    self.flush_queue.clear()
    self.judged = 0


_drain = listener.Listener._drain


def _accept_and_leave(self: Any) -> None:
    reactor = self._loop.reactor
    defer = reactor.defer
    reactor.defer = lambda channel: None if channel is self else defer(channel)
    try:
        _drain(self)
    finally:
        del reactor.defer


def _no_retry(self: Any) -> None:
    self._retry = None


def _has_no_input(self: Any) -> bool:
    return False


_add = reactor.Reactor.add


def _add_without_number(self: Any, channel: Any, interest: int) -> None:
    _add(self, channel, interest)
    channel.registered_in = 0


def _never_rearm(self: Any) -> None:
    pass


def _nothing_at_a_fork(self: Any) -> None:
    self.forks += 1


_any_is_due = schedule.Scheduler._any_is_due
_collect_due = schedule.Scheduler._collect_due


def _early(self: Any, now: float) -> bool:
    return _any_is_due(self, now + 0.01)


def _collect_early(self: Any, now: float) -> None:
    _collect_due(self, now + 0.01)


# What the oracles watch for.


def _send_again(chunks: list[Any], count: int) -> int:
    return 0


def _append_in_front(self: Any, data: Any, size: int) -> None:
    self._write_buffer.insert(0, data)
    self._write_buffer_size += size


_call_connection_lost = base.BaseTransport._call_connection_lost


def _lose_twice(self: Any, exc: Any) -> None:
    self._protocol.connection_lost(exc)
    _call_connection_lost(self, exc)


def _lose_silently(self: Any, exc: Any) -> None:
    self._release()


def _lose_before_the_last_bytes(self: Any, exc: Any) -> None:
    protocol = self._protocol
    _call_connection_lost(self, exc)
    if hasattr(protocol, "data_received"):
        protocol.data_received(b"")


def _pause_again(self: Any) -> None:
    if self._write_buffer_size > self._high_water:
        self._protocol_paused = True
        self._protocol.pause_writing()


def _never_resume(self: Any) -> None:
    pass


def _leave_open(self: Any, fd: int) -> None:
    pass


_wait = epoll.Poller.wait


def _never_sleep(self: Any, timeout: float) -> int:
    return _wait(self, 0)


def _push_unsorted(self: Any, when: float, timer: Any) -> None:
    self._entries.append((when, self._count + 1, timer))
    self._count += 1
    self.size += 1


def _pop_unsorted(self: Any) -> Any:
    self.size -= 1
    return self._entries.pop(0)[2]


Replacement = tuple[Any, str, Any]

#: What is broken, with the number of a rule, and the names that are replaced.
BREAKS: dict[str, list[Replacement]] = {
    "1 a descriptor is closed without DEL": [(epoll.Poller, "remove", _no_del)],
    "2 a short read clears readable though FIN has come": [(calls, "EPOLL_HANGUP", 0)],
    "3 what is left unread is not deferred": [(stream.StreamTransport, "_read_on", _forget_the_rest)],
    "3 a peer is read until it has no more": [(stream.StreamTransport, "on_ready", _read_until_empty)],
    "4 EPOLLOUT is not armed": [(flow.WriteHalf, "_wait_writable", _wait_without_arming)],
    "5 gathered bytes are forgotten": [(gathering.Gathering, "flush", _never_flush)],
    "6 a turn's last accept is the last of all": [
        (listener, "ACCEPTS_PER_TURN", 1),
        (listener.Listener, "_drain", _accept_and_leave),
    ],
    "6 a listener without a descriptor never tries again": [(listener.Listener, "_try_again", _no_retry)],
    "7 resume_reading waits for an edge": [(base.BaseTransport, "_has_input", _has_no_input)],
    "8 ERR alone makes nothing readable": [(calls, "EPOLL_READ", calls.EPOLL_INPUT)],
    "9 a new channel gets its predecessor's event": [(reactor.Reactor, "add", _add_without_number)],
    "10 a reader is not re-armed": [(watch.Watch, "after_callbacks", _never_rearm)],
    "11 a forked child uses the epoll set of its parent": [(reactor.Reactor, "after_fork", _nothing_at_a_fork)],
    "12 timers are early": [
        (schedule.Scheduler, "_any_is_due", _early),
        (schedule.Scheduler, "_collect_due", _collect_early),
    ],
    "bytes leave twice": [(flow, "drop_sent", _send_again)],
    "bytes leave in another order": [(flow.WriteHalf, "_append", _append_in_front)],
    "connection_lost comes twice": [(base.BaseTransport, "_call_connection_lost", _lose_twice)],
    "connection_lost never comes": [(base.BaseTransport, "_call_connection_lost", _lose_silently)],
    "connection_lost is not the last call": [
        (base.BaseTransport, "_call_connection_lost", _lose_before_the_last_bytes)
    ],
    "pause_writing comes twice": [(flow.WriteHalf, "_maybe_pause_protocol", _pause_again)],
    "resume_writing never comes": [(flow.WriteHalf, "_maybe_resume_protocol", _never_resume)],
    "a descriptor stays open": [(stream.StreamTransport, "_give_back", _leave_open)],
    "the loop never sleeps": [(epoll.Poller, "wait", _never_sleep)],
    "timers come in another order": [
        (timer_heap.TimerHeap, "push", _push_unsorted),
        (timer_heap.TimerHeap, "pop", _pop_unsorted),
    ],
}


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """Break a rule for as long as the block runs."""
    undo: list[Callable[[], None]] = []
    try:
        for owner, attribute, replacement in BREAKS[name]:
            before = vars(owner)[attribute]
            undo.append(lambda owner=owner, attribute=attribute, before=before: setattr(owner, attribute, before))  # type: ignore[misc]
            setattr(owner, attribute, replacement)
        yield
    finally:
        for step in undo:
            step()
