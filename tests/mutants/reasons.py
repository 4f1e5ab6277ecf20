"""Why a mutant may survive: for a mutant's name, or for all that change one line (its name up to the arrow).

Each begins with the kind: "equivalent" changes nothing that can be seen; "cost" does the same with more work, or later by
what no test asserts; "figures" changes a number that is only approximate; "wording" changes text; "edition" is for the
compiled edition, whose branch the pure one never takes, or for a Python from 3.14 on.
"""

from __future__ import annotations

import re
from collections import Counter

KINDS = ("equivalent", "cost", "figures", "wording", "edition")

REASONS: dict[str, dict[str, str]] = {
    "kernel/epoll": {
        "module: MAX_EVENTS = 1024": "cost: how many events a wait returns at most; the others come with the next",
        "Poller.wait: if timeout > 86400:": "cost: one wake-up in so many seconds",
        "Poller.wait: if events: => events -> True": "cost: empty lists take the place of the last events",
    },
    "core/channel": {
        "Channel.__init__: self.interest = 0": "equivalent: add sets it before anything reads it",
        "Channel.__init__: self.registered_in = 0": "equivalent: add sets it before an event can come",
        "Channel.__init__: self.credit = 0 => 0 -> -1": "cost: five short callbacks earn gathering, not four",
    },
    "core/gathering": {
        "module: LONG_SECONDS = 1e-3": "cost: bytes are held for longer before a channel loses its credit",
        "module: CAUTIOUS_CALLBACKS = 16": "cost: a number that was chosen by measuring",
        "Gathering.__init__: self.thread = 0": "equivalent: a run sets it, and nothing is gathered before the first",
        "Gathering.__init__: self.unflushed_from = 0": "equivalent: who sets ``unflushed`` sets it too",
        "Gathering.__init__: self.flush_queued_at = 0.0": "equivalent: who queues the first channel sets it",
        "Gathering.__init__: self.judged_at = 0.0": (
            "equivalent: it is read only once ``judged`` is not 0, and set with it"
        ),
        "Gathering.is_overdue: if elapsed > LONG_SECONDS: => > -> >=": "equivalent: but for one value of a float",
        "Gathering.is_overdue: return elapsed >= SHORT_SECONDS => >= -> >": "equivalent: but for one value of a float",
        "Gathering.callback_ended: if elapsed > LONG_SECONDS: => > -> >=": "equivalent: but for one value of a float",
        "Gathering.callback_ended: elif elapsed < SHORT_SECONDS and channel.credit < EARNED: => < -> <=": (
            "equivalent: but for one value of a float"
        ),
        "Gathering.callback_ended: if elapsed >= SHORT_SECONDS: => >= -> >": "equivalent: but for one value of a float",
        "Gathering.callback_ended: elif waited < SHORT_SECONDS: => < -> <=": "equivalent: but for one value of a float",
        "Gathering.callback_ended: self.late = waited > LONG_SECONDS => > -> >=": (
            "equivalent: but for one value of a float"
        ),
        "Gathering.flush: if len(self.flush_queue) == 1:": "cost: the way for one and that for several do the same",
        "Gathering.flush: continue => left out": "cost: the way for several finds nothing more",
        "Gathering.flush: index += 1 => left out": "cost: who has flushed is asked again, and has nothing left",
    },
    "core/reactor": {
        "module: MAX_UNVERIFIED_SECONDS = 0.05": "cost: a call on a registration that is gone is told later",
        "Reactor.__init__: self.channels: list[Channel | None] = [None] * 64": "cost: ``add`` makes the list longer",
        "Reactor.__init__: self.num_events = 0 => 0 -> -1": "equivalent: below next_event, until a wait sets it",
        "Reactor.__init__: self.next_event = 0": "equivalent: not below num_events, until a wait sets both",
        "Reactor.__init__: False => False -> True": "cost: what is deferred first has its share a turn later",
        "Reactor.__init__: self.needs_poll = True": "equivalent: a run begins with request_poll",
        "Reactor.__init__: self.skipped = False => False -> True": "cost: the first turn waits, which it does anyway",
        "Reactor.__init__: self.skipped = False => left out": "equivalent: the first wait sets it before it is asked",
        "Reactor.__init__: self.unverified = False => False -> True": "cost: the first sleep ends after 50 ms",
        "Reactor.__init__: self.idle = False": "equivalent: a wait sets it before anything reads it",
        "Reactor.__init__: self.forks = 0": "equivalent: it is only compared with itself",
        "Reactor.may_skip: if self.needs_poll or self.skipped or self.first_deferred is not None:"
        " => without or self.first_deferred is not None": (
            "cost: other events come a turn later; what is deferred is dispatched without a wait too"
        ),
        "Reactor.wait: if not self.iteration & 255 and ticks.ticks(counts.by_counter) > counts.refresh_at:": (
            "cost: the file of the figures is refreshed at other times"
        ),
        "Reactor.__init__: self.iteration = 1": "equivalent: it is only compared with itself",
        "Reactor.close: self.flush_queue = []": "cost: what the queue refers to is freed with the loop",
        "Reactor.may_skip: return True => True -> False": "cost: a wait in each turn",
        "Reactor.wait: self.iteration = self.iteration + 1 => + -> -": (
            "cost: is_empty is true for longer, so a recv waits for the event that has come"
        ),
        "Reactor.wait: if timeout == 0.0: => 0.0 -> 1.0": "cost: it reads the clock twice more, and verifies sooner",
        "Reactor.wait: self.idle = False => left out": "cost: a registration is verified sooner",
        "Reactor.dispatch: if mask & calls.EPOLL_WRITE:": (
            "cost: a send that says EAGAIN; HUP and ERR are hints (rule 8)"
        ),
        "Reactor.dispatch: if channel is not None and channel.added: => without and channel is not None": (
            "equivalent: but for a signal handler that raises before the first channel of a turn"
        ),
        "Reactor._take_over: channel.added = False": (
            "figures: in a child that has closed the descriptor the channel is counted as gone twice"
        ),
        "Reactor._take_over: self.next_event = self.num_events = 0": (
            "equivalent: events of the parent's are hints, and those of the new set come all the same"
        ),
    },
    "core/scheduling": {
        "module: _HANDLES_ARE_SHARED = sys.version_info >= (3, 14) => 14 -> 15": "edition: before 3.14 both are false",
        "module: _HANDLES_ARE_SHARED = sys.version_info >= (3, 14) => 3 -> 4": "edition: before 3.14 both are false",
        "Scheduling.__init__: self._own_run_once = False": (
            "equivalent: _find_overrides sets it before anything reads it"
        ),
        "Scheduling.__init__: self._replaced = False": "cost: it is looked for once more; _find_overrides sets it",
        "Scheduling.__init__: self._handle_version = -1": (
            "edition: the pure edition knows no versions, and always looks"
        ),
        "Scheduling._now: if self._replaced or interpreter.type_version(self) != self._version"
        " or interpreter.has_dict(self):"
        " => self._replaced or interpreter.type_version(self) != self._version or interpreter.has_dict(self) -> True": (
            "edition: in the pure edition has_dict is always true"
        ),
        "Scheduling._now: if self._replaced or interpreter.type_version(self) != self._version"
        " or interpreter.has_dict(self): => without or self._replaced": (
            "edition: in the pure edition has_dict is always true"
        ),
        "Scheduling._now: if self._replaced or interpreter.type_version(self) != self._version"
        " or interpreter.has_dict(self):"
        " => without or interpreter.type_version(self) != self._version": (
            "edition: in the pure edition has_dict is always true"
        ),
        "Scheduling._now: if self._replaced or interpreter.type_version(self) != self._version"
        " or interpreter.has_dict(self): => != -> ==": ("edition: in the pure edition has_dict is always true"),
        "Scheduling.call_later: if self._replaced or interpreter.type_version(self) != self._version"
        " or interpreter.has_dict(self):"
        " => self._replaced or interpreter.type_version(self) != self._version or interpreter.has_dict(self) -> True": (
            "edition: in the pure edition has_dict is always true"
        ),
        "Scheduling.call_later: if self._replaced or interpreter.type_version(self) != self._version"
        " or interpreter.has_dict(self): => without or self._replaced": (
            "edition: in the pure edition has_dict is always true"
        ),
        "Scheduling.call_later: if self._replaced or interpreter.type_version(self) != self._version"
        " or interpreter.has_dict(self):"
        " => without or interpreter.type_version(self) != self._version": (
            "edition: in the pure edition has_dict is always true"
        ),
        "Scheduling.call_later: if self._replaced or interpreter.type_version(self) != self._version"
        " or interpreter.has_dict(self): => != -> ==": ("edition: in the pure edition has_dict is always true"),
        "Scheduling.call_later: timer = self._timer(calls.now() + delay, callback, args, context)": (
            "edition: the pure edition takes the other branch"
        ),
        "Scheduling.call_soon: if self._inbox_dirty: => self._inbox_dirty -> True": "cost: an empty inbox is collected",
        "Scheduling.call_at: if self._closed: => self._closed -> True": "cost: _check_closed asks again",
        "Scheduling.call_later: if self._closed: => self._closed -> True": "cost: _check_closed asks again",
        "Scheduling.call_soon_threadsafe: if self._closed: => self._closed -> True": "cost: _check_closed asks again",
        "Scheduling.create_future: raise NotImplementedError": "equivalent: EventLoop has its own",
        "Scheduling._find_overrides: raise NotImplementedError": "equivalent: Scheduler has its own",
        "module: _HANDLES_ARE_SHARED = sys.version_info >= (3, 14) => >= -> >": "equivalent: 3.14.0 is above (3, 14)",
        "Scheduling.__init__: self._version = -1": (
            "equivalent: no class has 0 either, and -1 is set where it is unknown"
        ),
        "Scheduling.__init__: self._own_clock = False": "equivalent: _find_overrides sets it before anything reads it",
        "Scheduling.__init__: self._own_call_at = False": (
            "equivalent: _find_overrides sets it before anything reads it"
        ),
        "Scheduling.call_soon: if self._closed: => self._closed -> True": "cost: _check_closed asks again",
        "Scheduling.call_soon_threadsafe: if _HANDLES_ARE_SHARED: => _HANDLES_ARE_SHARED -> False": (
            "edition: before Python 3.14 it is false"
        ),
        "Scheduling.call_at: if when is None: => when is None -> False": "wording: None + 0.0 raises TypeError too",
        "Scheduling.call_at: timer = self._timer(when + 0.0, callback, args, context) => + -> -": (
            "equivalent: but for -0.0"
        ),
    },
    "core/schedule": {
        "module: MIN_CANCELLED_TIMERS = 100": "cost: a number that was chosen",
        "module: interpreter.watch_class(stdlib.handle_class)": "edition: it does nothing in the pure edition",
        "Scheduler.__init__: self._interrupted_at = 0": "equivalent: who sets ``_interrupted`` sets it too",
        "Scheduler.__init__: self._turn_time = 0.0": (
            "equivalent: a turn that has timers sets it before its callbacks run"
        ),
        "Scheduler._find_handle_run: self._handle_version = interpreter.watched_version() or -1": (
            "edition: the pure edition knows no versions, and always looks"
        ),
        "Scheduler._find_overrides: self._version = interpreter.type_version(self) or -1": (
            "edition: the pure edition knows no versions, and always looks"
        ),
        "Scheduler._find_overrides: if interpreter.watched_version() != self._handle_version:": (
            "edition: the pure edition knows no versions, and always looks"
        ),
        "Scheduler._run_once: if interpreter.watched_version() != self._handle_version:": (
            "edition: the pure edition knows no versions, and always looks"
        ),
        "Scheduler._run_turns: if self._replaced or interpreter.is_changed(self, self._version, self._handle_version):"
        " => self._replaced or interpreter.is_changed(self, self._version, self._handle_version) -> True": (
            "edition: in the pure edition is_changed is always true"
        ),
        "Scheduler._run_turns: if self._replaced or interpreter.is_changed(self, self._version, self._handle_version):"
        " => without or self._replaced": "edition: in the pure edition is_changed is always true",
        "Scheduler._turn: now = 0.0": "equivalent: it is read only if a timer is due, and set before that is known",
        "Scheduler._turn: if waits:": "edition: check_signals does nothing in the pure edition",
        "Scheduler._turn: interpreter.check_signals()": "edition: it does nothing in the pure edition",
        "Scheduler._run_turns: if self._own_run_once: => self._own_run_once -> True": "cost: _run_once does the same",
        "Scheduler._wait_time: if not (self._ready or self._fired or self._inbox_dirty or self._stopping):": (
            "cost: the first timers are looked at though the turn does not sleep; the end asks again"
        ),
        "Scheduler._wait_time: if not timeout > 0.0: => > -> >=": "equivalent: 0.0 is 0.0",
        "Scheduler._any_is_due: return timers.size > 0 and not timers.first_when() > now"
        " => without and not timers.first_when() > now": "cost: _collect_due looks, and finds none",
        "Scheduler._collect_due: timer._scheduled = False": (
            "cost: who cancels a timer that has run has the heap rebuilt sooner"
        ),
        "Scheduler._run_only: if interpreter.unshared(handle): => interpreter.unshared(handle) -> False": (
            "edition: the pure edition keeps no handles"
        ),
        "Scheduler._run_only: self._keep(handle)": "edition: the pure edition keeps no handles",
        "Scheduler._run_batch: if interpreter.unshared(handle): => interpreter.unshared(handle) -> False": (
            "edition: the pure edition keeps no handles"
        ),
        "Scheduler._run_batch: self._keep(handle)": "edition: the pure edition keeps no handles",
        "Scheduler._sort_new_timers: if interpreter.unshared(timer): => interpreter.unshared(timer) -> False": (
            "edition: the pure edition keeps no handles"
        ),
        "Scheduler._sort_new_timers: self._keep(timer)": "edition: the pure edition keeps no handles",
        "Scheduler._run_batch: size = -1 => 1 -> 2": "equivalent: no number of callbacks that have run is below 0",
        "Scheduler._run_batch: if done == size: => done == size -> False": (
            "cost: the next batch makes a list; what is left of this one is nothing"
        ),
        "Scheduler._run_attended: self._run_timed(handle, False) => False -> True": (
            "cost: asyncio's Handle._run does the same; if it is replaced there is an observer"
        ),
        "Scheduler._run_timed: if by_asyncio: => by_asyncio -> True": (
            "cost: asyncio's Handle._run does the same; if it is replaced it is called anyway"
        ),
        "Scheduler._warn_if_slow: if elapsed >= self.slow_callback_duration: => >= -> >": (
            "equivalent: but for one value of a float"
        ),
        "Scheduler._warn_if_slow: handle = owner": "edition: there is no SharedHandle before Python 3.14",
        'Scheduler._warn_if_slow: owner = getattr(handle._callback, "__self__", None) => left out (2)': (
            "edition: there is no SharedHandle before Python 3.14"
        ),
        "Scheduler._find_handle_run: if function is self._handle_run: => function is self._handle_run -> False": (
            "cost: the same function is taken again"
        ),
        "Scheduler._turn: if due: => due -> True": "cost: it looks once more whether a timer is due at 0.0",
        "Scheduler._wait_time: timer._scheduled = False": "equivalent: a cancelled timer is not cancelled again",
        "Scheduler._any_is_due: if self._cancelled_timers > MIN_CANCELLED_TIMERS and self._cancelled_timers * 2"
        " > timers.size:": ("cost: the heap is rebuilt sooner or later"),
        "Scheduler._collect_due: self._cancelled_timers -= 1": "cost: the heap is rebuilt sooner",
        "Scheduler._any_is_due: return timers.size > 0 and not timers.first_when() > now => > -> >=": (
            "cost: a timer that is due at this very moment runs in the next turn; a clock seldom says the same twice"
        ),
        "Scheduler._run_attended: given = handle.given()": "edition: before Python 3.14 a handle is given as it is",
        "Scheduler._run_batch: batch[place] = None": "cost: what a callback refers to is freed with its batch",
        "Scheduler._run_batch: self._spare_list = batch": "cost: the next batch makes a list",
        "Scheduler._warn_if_slow: if isinstance(owner, SharedHandle): => isinstance(owner, SharedHandle) -> False": (
            "edition: there is no SharedHandle before Python 3.14"
        ),
    },
    "serving/listener": {
        "SpareDescriptor.take: return False => False -> True": (
            "cost: accept(2) is tried once more where another thread has taken the descriptor, then later all the same"
        ),
        "Listener._exhausted: return False => False -> True": (
            "equivalent: stop has removed the listener, which ends the turn"
        ),
        "Listener._on_accepted: if transport is not None: => transport is not None -> False": (
            "equivalent: but for a signal handler that raises between two lines"
        ),
        "SpareDescriptor.give_up: return False": "equivalent: only its truth is asked for",
        "SpareDescriptor.take: fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)": (
            "equivalent: os.open sets O_CLOEXEC by itself (PEP 446)"
        ),
        "module: ACCEPTS_PER_TURN = 256": "cost: a number that was chosen by measuring",
        "module: REPORT_SECONDS = 5.0": "cost: it reports less often",
        "Listener.stop: if self._retry is not None: => self._retry is not None -> False": (
            "cost: the timer runs, and finds nothing to do"
        ),
        "SpareDescriptor.take: if self._fd < 0: => < -> <=": (
            "cost: descriptor 0 would be opened twice, where stdin is closed"
        ),
        "SpareDescriptor.__init__: self._fd = -1 => 1 -> 2": (
            "equivalent: every number below 0 says that it is not open"
        ),
        "Listener.__init__: self._admission: Admission | None = None": (
            "equivalent: the server sets it before the first event"
        ),
        "Listener._on_accepted: transport = StreamTransport(self._loop, -1, None, protocol, context, peername, server)"
        " => 1 -> 2": "equivalent: every number below 0 says that it has none yet",
        "Listener._report_seldom: if now >= self._silent_until: => >= -> >": "equivalent: but for one value of a float",
        "Listener.__init__: self._limit = sys.maxsize": "equivalent: the server sets it before the first event",
        "Listener.__init__: self._counts_peers = False": "equivalent: the server sets it before the first event",
        "Listener._drain: end = calls.now() + ACCEPT_SECONDS => + -> -": "cost: one accept in each turn",
        "Listener._exhausted: return False => return None": "equivalent: only its truth is asked for",
    },
    "transports/stream": {
        "StreamTransport.__init__: Channel.__init__(self, -1)": (
            "equivalent: every number below 0 says that it has none yet"
        ),
        "StreamTransport.__init__: self._buffered = False": "equivalent: set_protocol sets it before anything reads it",
        "StreamTransport._read: more = False": "equivalent: each branch gives it another value",
        "StreamTransport._read_on: if self.urgent: => self.urgent -> True": "cost: a MOD where the next turn would do",
        "StreamTransport._read_all: self.hangup = False => False -> True": (
            "cost: the next short read is followed by another"
        ),
        "StreamTransport._read_into: if self._rates is not None and self._rates.allowed < size: => < -> <=": (
            "equivalent: the limit is the size"
        ),
        'StreamTransport._end_of_stream: stdlib.logger().debug("%r received EOF", self)': "wording: a message of debug mode",
        "StreamTransport.get_extra_info: self._sock.close()": (
            "equivalent: the pure edition has an object from the start"
        ),
        "StreamTransport.__repr__: if self.fd < 0:": "wording",
        "StreamTransport.__repr__: if self.fd >= 0:": "wording",
    },
    "transports/stream_writing": {
        "StreamWriteHalf._leave: if self._protocol_paused: => self._protocol_paused -> False (2)": (
            "cost: with a write rate the protocol is resumed by that one's timer"
        ),
        "StreamWriteHalf.open_socket: sock = new_socket(-1, -1, -1, self.fd)": (
            "equivalent: the pure edition has a socket object from the start"
        ),
        "module: SEND_AT_ONCE = 65536": "cost: a number that was chosen by measuring",
        "StreamWriteHalf.write: and self._write_buffer_size <= SEND_AT_ONCE": "cost: a byte more or less is gathered",
        "StreamWriteHalf.write: and not (self.flush_queued and self._reactor.is_overdue(self))"
        " => without and self.flush_queued": "cost: what is written first in a callback is sent at once",
        "StreamWriteHalf._leave: or self._write_buffer_size >= SEND_AT_ONCE": "cost: a byte more or less is gathered",
        "StreamWriteHalf._leave: elif self._reactor.may_gather(self)"
        " and not (self.flush_queued and self._reactor.is_overdue(self)): => without and self.flush_queued": (
            "cost: what is written first in a callback is sent at once"
        ),
        "StreamWriteHalf._send_write_buffer: if count < 0"
        " or self._drop_sent(count, chunks) < min(chunks, calls.MAX_CHUNKS): => < -> <=": (
            "cost: a MOD where there is room still; of something that is not empty send(2) never takes 0 bytes"
        ),
    },
    "transports/flow": {
        "drop_sent: if done < len(write_buffer) and write_buffer[done] is first: => without and done < len(write_buffer)": (
            "equivalent: the IndexError is one of a transport that was aborted meanwhile, and is dropped"
        ),
        "WriteHalf._send: self._sending = False => left out": (
            "cost: what the handler of the error writes is dropped with the connection, not tried before"
        ),
        "WriteHalf._use_room: elif not self.readable and self.interest & calls.INTEREST_WRITE and self.added:"
        " => without and not self.readable": "cost: the MOD that disarms comes sooner",
        "WriteHalf._drop_sent: if self._write_buffer_size == 0 and len(self._write_buffer) == chunks: => 0 -> 1": (
            "cost: the general way does the same"
        ),
        "WriteHalf.flush: self.credit = min(self.credit, 0)": "cost: one short callback more until writes are gathered",
    },
}


def reason(module: str, name: str) -> str:
    """Return why this mutant may live, or nothing."""
    reasons = REASONS.get(module, {})
    if name in reasons:
        return reasons[name]
    name = re.sub(r" \(\d+\)$", "", name)
    return reasons.get(name) or reasons.get(name.partition(" => ")[0], "")


def kinds(module: str, names: list[str]) -> Counter[str]:
    """Return how many survivors there are of each kind; "open" are those without a reason."""
    return Counter(reason(module, name).partition(":")[0] or "open" for name in names)
