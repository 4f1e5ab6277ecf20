"""Why a mutant may survive: for a mutant's name, or for all that change one line (its name up to the arrow).

Each begins with the kind: "equivalent" changes nothing that can be seen; "cost" does the same with more work, or later by
what no test asserts; "figures" changes a number that is only approximate; "wording" changes text; "edition" is for the
compiled edition, whose branch the pure one never takes, for PyPy, or for a Python from 3.14 on.
"""

from __future__ import annotations

import re
from collections import Counter

KINDS = ("equivalent", "cost", "figures", "wording", "edition")

REASONS: dict[str, dict[str, str]] = {
    "kernel/epoll": {
        "Poller.close: if isinstance(waker, _LockedWaker):": "edition: on CPython there is none",
        "module: _ONE = (1).to_bytes(8, sys.byteorder) => 1 -> 2": (
            "equivalent: nobody reads what the eventfd has counted"
        ),
        "_LockedWaker.close: if fd >= 0: => 0 -> 1": "edition: descriptor 0, on PyPy",
        "_LockedWaker.close: if fd >= 0: => >= -> >": "edition: descriptor 0, on PyPy",
        "_LockedWaker.wake: if self.fd >= 0: => >= -> >": "edition: descriptor 0, on PyPy",
        "_LockedWaker.wake: if self.fd >= 0: => 0 -> 1": "edition: descriptor 0, on PyPy",
        "module: MAX_EVENTS = 1024": "cost: how many events a wait returns at most; the others come with the next",
        "Poller.wait: if timeout > 86400:": "cost: one wake-up in so many seconds",
        "Poller.wait: if events: => events -> True": "cost: empty lists take the place of the last events",
        "Poller.wait: timeout = 86400": "cost: one wake-up in so many seconds",
        "Poller.__init__: self.fds: list[int] = []": "equivalent: ``wait`` makes both lists before anything reads them",
        "Poller.__init__: self.masks: list[int] = []": (
            "equivalent: ``wait`` makes both lists before anything reads them"
        ),
        "Poller.__init__: self._waker = _Waker() if _COUNTS_REFERENCES else _LockedWaker()": (
            "edition: the second one is PyPy's; both do on CPython"
        ),
        "_Waker.__init__: self.fd = -1": "equivalent: every number below 0 says that there is none",
        "_LockedWaker.close: fd, self.fd = self.fd, -1 => 1 -> 2": (
            "equivalent: every number below 0 says that there is none"
        ),
        "_LockedWaker.close: if self._lock.acquire(blocking=False): => False -> True": (
            "edition: it matters in a child that PyPy has forked in the middle of a wake-up"
        ),
    },
    "kernel/sockets": {
        "_would_block: return not poller.poll(0) => 0 -> 1": "cost: it waits for a millisecond",
        "_would_block: if not os.get_blocking(fd): => not os.get_blocking(fd) -> False": (
            "cost: poll(2) is asked each time"
        ),
        "object_for: elif sock.gettimeout(): => sock.gettimeout() -> True": "cost: a socket is set not to block again",
        "first_chunks: return chunks if len(chunks) <= MAX_CHUNKS else list(itertools.islice(chunks, MAX_CHUNKS))"
        " => <= -> <": "cost: a list that is as long as it may be is copied",
        "recv_message: data, _, flags, _ = sock.recvmsg(READ_SIZE, 0, socket.MSG_DONTWAIT) => 0 -> 1": (
            "equivalent: no control message fits in one byte"
        ),
        "recv_message_into: count, _, flags, _ = sock.recvmsg_into((buffer,), 0, socket.MSG_DONTWAIT) => 0 -> 1": (
            "equivalent: no control message fits in one byte"
        ),
    },
    "kernel/short_reads": {
        "module: FLAGGED = 2 => 2 -> 3": "equivalent: it is only compared with itself",
        "module: NOTHING = 0 => 0 -> -1": "equivalent: it is only compared with itself",
        "short_reads_of: if says == ALL and sock.getsockopt(socket.IPPROTO_TCP, TCP_ULP, 16): => 16 -> 17": (
            "equivalent: the kernel's names are shorter"
        ),
        "short_reads_of: if says == ALL and sock.getsockopt(socket.IPPROTO_TCP, TCP_ULP, 16): => 16 -> 15": (
            "equivalent: the kernel's names are shorter"
        ),
    },
    "kernel/datagrams": {
        "is_plain: return False => return None": "equivalent: only its truth is asked for",
        "module: MAX_DATAGRAMS = 64": "cost: the others come with the next call",
        "module: DATAGRAM_SIZE = 262144": "equivalent: no datagram is as long",
        "send_datagrams: if index < 0: => 0 -> -1": "wording: islice raises ValueError itself",
    },
    "kernel/connection_socket": {
        "ConnectionSocket.dup: self._find_transport()": "equivalent: socket.dup asks fileno, which does the same",
        "borrowed_socket: non_blocking = _MAKES_BLOCKING and not os.get_blocking(fd)": "edition: it is for PyPy",
        "borrowed_socket: sock.setblocking(False)": "edition: it is for PyPy",
    },
    "kernel/pipes": {
        "write_many: if not os.get_blocking(fd): => not os.get_blocking(fd) -> False": (
            "cost: poll(2) is asked, and less is written at a time"
        ),
        "unread: return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)": (
            "equivalent: the number's upper bytes are 0, where the lowest comes first"
        ),
        "read: count = os.preadv(fd, [view], -1, _NOWAIT) => 1 -> 2": "cost: it is refused, and the other way taken",
        "write_many: return os.pwritev(fd, first_chunks(chunks), -1, _NOWAIT) => 1 -> 2": (
            "cost: it is refused, and the other way taken"
        ),
        'module: _NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)': "edition: musl leaves it out, before 1.2.5",
        "read: if _NOWAIT and not device:": (
            "cost: the other way asks poll(2) first; it blocks only if another reads meanwhile"
        ),
        "write_many: if _NOWAIT and not device:": "cost: the other way asks poll(2) first, and writes less at a time",
        "read: if exc.errno not in _REFUSED: => exc.errno not in _REFUSED -> False": (
            "cost: the other way meets the same error"
        ),
        "read: raise => left out": "cost: the other way meets the same error",
        "write_many: if exc.errno not in _REFUSED: => exc.errno not in _REFUSED -> False": (
            "cost: the other way meets the same error"
        ),
        "write_many: raise => left out": "cost: the other way meets the same error",
    },
    "kernel/calls": {
        "module: EPOLL_WRITE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR": (
            "cost: HUP and ERR come with OUT where there is room, and are in EPOLL_READ too (rule 8)"
        ),
        "module: READ_SIZE = 262144": "cost: a number that was chosen by measuring",
        "module: MAX_CHUNKS = 1024 => 1024 -> 1023": "cost: the others leave with the next call",
        'module: _RDHUP: int = getattr(select, "EPOLLRDHUP", 0x2000)': "edition: it is PyPy that leaves it out",
    },
    "core/channel": {
        "Channel.__init__: self.kind = 0": "equivalent: each subclass sets it",
        "Channel.__init__: self.credit = 0 => 0 -> 1": "cost: three short callbacks earn gathering, not four",
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
        "Reactor.after_fork: self.pulse.abandon()": "cost: the child publishes for a watchdog that it does not have",
        "Reactor.may_skip: return False => return None": "equivalent: only its truth is asked for",
        "Reactor.wait: self.iteration = self.iteration + 1 => 1 -> 2": (
            "figures: the file of a loop that is never idle is refreshed at other times"
        ),
        "Reactor.may_skip: if self.needs_poll or self.skipped or self.first_deferred is not None:"
        " => self.needs_poll or self.skipped or self.first_deferred is not None -> True": "cost: a wait in each turn",
        "Reactor.wait: self.counts.woken_at = ticks.ticks(counts.by_counter)": (
            "figures: a refresh counts as part of the first callback"
        ),
        "Reactor.wait: self.idle = not num_events": "cost: a registration is verified sooner or later",
        "Reactor.add: self.channels.extend([None] * (fd + 64 - len(self.channels)))": (
            "cost: the list is longer or shorter"
        ),
        "Reactor.dispatch: if mask & calls.EPOLL_READ: => & -> |": (
            "cost: a recv that says EAGAIN; events are hints (rule 8)"
        ),
        "Reactor.dispatch: if mask & calls.EPOLL_HANGUP: => & -> |": "cost: a recv that says EAGAIN",
        "Reactor.dispatch: if mask & calls.EPOLL_URGENT: => & -> |": "cost: a MOD that reports nothing",
        "Reactor.dispatch: if channel is not None and channel.added: => without and channel.added": (
            "cost: one that is gone is on the deferred list, and passed over there"
        ),
        "Reactor.dispatch: if self.flush_queue: => self.flush_queue -> True": (
            "cost: what is gathered next leaves when its callback ends"
        ),
        "Reactor.dispatch: if self.flush_queue: => self.flush_queue -> True (2)": (
            "cost: what is gathered next leaves when its callback ends"
        ),
        "Reactor.remove: if self.companions: => self.companions -> True": "cost: an empty dictionary is asked",
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
        "Scheduling._now: if self._own_clock: => self._own_clock -> True": "cost: the loop's own method is called",
        "Scheduling.call_soon_threadsafe: given = SharedHandle(callback, args, self, context)": (
            "edition: before Python 3.14 it is not reached"
        ),
        "Scheduling.call_soon_threadsafe: handle = self._handle(given.run_unless_cancelled, (), given._context)": (
            "edition: before Python 3.14 it is not reached"
        ),
        "Scheduling.call_soon_threadsafe: if interpreter.is_this_thread(self._thread_id) and not self._inbox_dirty:"
        " => interpreter.is_this_thread(self._thread_id) and not self._inbox_dirty -> False": (
            "cost: it goes through the inbox, in the same order"
        ),
        "Scheduling.call_later: if self._replaced or interpreter.type_version(self) != self._version"
        " or interpreter.has_dict(self): => without or interpreter.has_dict(self)": (
            "edition: the pure edition knows no versions, and always looks"
        ),
        "Scheduling._now: if self._replaced or interpreter.type_version(self) != self._version"
        " or interpreter.has_dict(self): => without or interpreter.has_dict(self)": (
            "edition: the pure edition knows no versions, and always looks"
        ),
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
        "Scheduler._run_batch: self._unfinished = IN_FIRED if fired else IN_READY_QUEUE => fired -> False": (
            "cost: one callback that finds nothing to do"
        ),
        "Scheduler._sort_new_timers: self._cancelled_timers -= 1 => left out": "cost: the heap is rebuilt sooner",
        "module: IN_FIRED = 2 => 2 -> 3": "equivalent: it is only compared with itself",
        "Scheduler._finish_turn: if reactor.next_event < reactor.num_events or reactor.first_deferred is not None:"
        " => reactor.next_event < reactor.num_events or reactor.first_deferred is not None -> True": (
            "cost: the reactor goes through lists that are empty"
        ),
        "Scheduler._turn: if reactor.next_event < reactor.num_events or reactor.first_deferred is not None:"
        " => reactor.next_event < reactor.num_events or reactor.first_deferred is not None -> True": (
            "cost: the reactor goes through lists that are empty"
        ),
        "Scheduler._find_handle_run: elif replaced: => replaced -> True": (
            "cost: there is an observer, and asyncio's own Handle._run does the same"
        ),
        "Scheduler._wait_time: self._cancelled_timers -= 1 => 1 -> 0": "cost: the heap is rebuilt sooner",
        "Scheduler._run_batch: size = -1 => without -": "equivalent: no callback has run when it is read",
        "Scheduler._run_turns: self._rearm() => left out (2)": "cost: the next run re-arms when it begins",
        "Scheduler._wait_time: if self._new_timers: => self._new_timers -> True": "cost: an empty list is sorted in",
        "Scheduler._any_is_due: if self._new_timers: => self._new_timers -> True": "cost: an empty list is sorted in",
        "Scheduler._sort_new_timers: timer._scheduled = False": "equivalent: a cancelled timer is not cancelled again",
        "Scheduler._any_is_due: timer._scheduled = False": "equivalent: a cancelled timer is not cancelled again",
        "Scheduler._discard: self._spare_list = None": "cost: an empty list is freed with the loop",
        "Scheduler._run_turns: if not (self._ready or self._fired): => not (self._ready or self._fired) -> True": (
            "cost: readers are re-armed now and at the end of the turn"
        ),
        "Scheduler._turn: waits = not self._ready or not reactor.may_skip() => without or not self._ready": (
            "cost: a turn that has nothing to do leaves its wait out, and the next one waits"
        ),
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
        "Scheduler._sort_new_timers: self._cancelled_timers -= 1 => 1 -> 0": "cost: the heap is rebuilt sooner",
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
        "Listener._have_accepted: if self.readable and self.added: => without and self.added": (
            "cost: one that is gone is on the deferred list, and passed over there"
        ),
        "Listener._drain: if calls.now() > end: => calls.now() > end -> True": "cost: one accept in each turn",
        "Listener._on_accepted: server._detach(transport)": (
            "equivalent: but for a signal handler that raises between two lines"
        ),
        "Listener.stop: self._retry.cancel()": "cost: the timer runs, and finds nothing to do",
        "Listener._have_accepted: if self.readable and self.added: => self.readable and self.added -> True": (
            "cost: on_ready looks, and finds nothing to do"
        ),
        "Listener.on_ready: if self.readable and self._retry is None and not self._suspended:"
        " => without and self._retry is None": (
            "cost: accept(2) is tried with each event, not only when the time has come"
        ),
        "Listener.__init__: self.full = False": "cost: go_on looks once for nothing",
        "module: RETRY_SECONDS = 0.1": "cost: it is tried again later",
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
        "StreamTransport._fill: octets = whole[:]": "equivalent: CPython casts every buffer that recv_into takes",
        "StreamTransport._fill: limit = len(whole)": "equivalent: CPython casts every buffer that recv_into takes",
        "StreamTransport._read_all: self.hangup = False": "cost: the next short read is followed by another",
        "StreamTransport._end_of_stream: self.readable = False": (
            "cost: after the end nothing is read, whatever it says"
        ),
        "StreamTransport._give_back: if self._sock is not None: => self._sock is not None -> True": (
            "edition: the pure edition has an object from the start"
        ),
        "StreamTransport.get_extra_info: if self.fd < 0 and self._sock is None:": (
            "edition: the pure edition has an object from the start"
        ),
        "StreamTransport.get_extra_info: if self._sockname is None and self.fd >= 0: => >= -> >": (
            "cost: the name of descriptor 0 is not asked for"
        ),
        "module: LARGE_READ = 8192": "cost: a number that was chosen by measuring",
        "StreamTransport._read: data = sockets.recv_large(fd, self._sock) if self._large_read"
        " else sockets.recv(fd, self._sock)": "edition: in the pure edition both are recv",
        "StreamTransport.__init__: Channel.__init__(self, -1)": (
            "equivalent: every number below 0 says that it has none yet"
        ),
        "StreamTransport.__init__: self._buffered = False": "equivalent: set_protocol sets it before anything reads it",
        "StreamTransport._read: more = False": "equivalent: each branch gives it another value",
        "StreamTransport._read_on: if self.urgent: => self.urgent -> True": "cost: a MOD where the next turn would do",
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
        "StreamWriteHalf.writelines: if not isinstance(data, (bytes, bytearray, memoryview)):"
        " => not isinstance(data, (bytes, bytearray, memoryview)) -> False": (
            "wording: what has no buffer raises TypeError all the same"
        ),
        'StreamWriteHalf.writelines: raise TypeError(f"data argument must be a bytes-like object, not'
        ' {type(data).__name__!r}")': "wording: what has no buffer raises TypeError all the same",
        "StreamWriteHalf._leave: self._have_resumed()": (
            "cost: with a write rate the protocol is resumed by that one's timer"
        ),
        "StreamWriteHalf._have_resumed: if not self._reactor.may_send(): => not self._reactor.may_send() -> True": (
            "cost: the loop is woken once more"
        ),
        "StreamWriteHalf.open_socket: self._use_socket(sock)": (
            "edition: the pure edition has a socket object from the start"
        ),
        "StreamWriteHalf.write: len(data) < LARGE_WRITE => without and self.writable": (
            "cost: the flush finds that there is no room"
        ),
        "StreamWriteHalf.write: len(data) < LARGE_WRITE => without and self._write_buffer_size <= SEND_AT_ONCE": (
            "cost: more is gathered"
        ),
        "StreamWriteHalf._leave: size >= LARGE_WRITE => >= -> >": "cost: a byte more or less is gathered",
        "StreamWriteHalf.writelines: if data: => data -> True": "cost: an empty chunk is sent along",
        "StreamWriteHalf._send_write_buffer: if count > 0: => 0 -> -1": (
            "equivalent: of something a send takes a byte or says EAGAIN"
        ),
        "StreamWriteHalf._start_writing: self._family = 0": "equivalent: use_family sets it before anything reads it",
        "StreamWriteHalf.writelines: self._leave(self._write_buffer_size - size) => - -> +": (
            "cost: what is gathered leaves at once"
        ),
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
        "WriteHalf._send: if self._state >= base.LOST: => >= -> >": (
            "cost: what is about to be dropped is offered to the kernel once more"
        ),
        "WriteHalf.push: if self._write_buffer and self.writable and self._reactor.may_send():"
        " => without and self._write_buffer": "cost: it goes through a buffer that is empty",
        "drop_sent: if count and done < len(write_buffer): => without and done < len(write_buffer)": (
            "equivalent: the IndexError is one of a transport that was aborted meanwhile, and is dropped"
        ),
        "WriteHalf._drop_sent: if chunks == 1: => chunks == 1 -> False": "cost: the way for several does the same",
        "WriteHalf.flush: if self._protocol_paused: => self._protocol_paused -> True": (
            "cost: _maybe_resume_protocol asks again"
        ),
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
