"""What runs when: the ready queue, the timers, the inbox of other threads, and the turn.

``call_soon`` appends to the ready queue. A turn swaps the queue out and runs it as a batch, so what a callback schedules runs
in the next turn. The callbacks of readers, writers and timers are in ``_fired``, which runs in the same turn.

``call_soon_threadsafe`` and ``_queue_from_signal`` may be called from any thread and by a signal handler. Everything else is
called by the thread that runs the loop, or by any one thread while none does; debug mode checks that (RuntimeError).

The wake-up protocol. Another thread, or a signal handler, does in this order:

1. append the handle to ``_inbox``;
2. set ``_inbox_dirty``;
3. ``Reactor.wake``: unless ``Reactor.woken`` is set, set it and write to the eventfd.

The loop's thread does in this order:

4. not sleep if ``_inbox_dirty`` is set (_wait_time);
5. wait, then clear ``woken`` (Reactor.wait);
6. clear ``_inbox_dirty``, then empty ``_inbox`` (_collect_inbox).

A handle that is appended after 4 ends the wait, by 3. A thread that finds ``woken`` set writes nothing: the loop has yet to
clear it, and reads the inbox after that. A flag set during 6 stays set for the next turn. The deque is atomic, so no lock.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from .. import stdlib
from ..kernel import calls, interpreter
from .handles import Handle, HandleSource, SharedHandle, TimerHandle
from .observer import Attached, Observer
from .reactor import Reactor
from .timer_heap import TimerHeap

# If more timers than this are cancelled, and more than half of all, the heap is rebuilt without them.
MIN_CANCELLED_TIMERS = 100

# From 3.14 on any thread may cancel the handle of call_soon_threadsafe.
_HANDLES_ARE_SHARED = sys.version_info >= (3, 14)

# It has another version when a program has replaced one of its methods.
interpreter.watch_class(stdlib.handle_class)


def _nothing() -> None:
    pass


class Scheduler(HandleSource):
    """The part of an event loop that decides what runs when. Its Reactor says which descriptors are ready.

    It owns no descriptor but the Reactor's. ``_discard`` and ``Reactor.close`` end it. Where no line says otherwise, only
    this class changes an attribute, in the thread that runs the loop, or in any one thread while none does.
    """

    def __init__(self) -> None:
        HandleSource.__init__(self)
        self.reactor = Reactor()  # never replaced
        self._ready: list[Handle] = []  # the ready queue
        self._fired: list[Handle] = []  # callbacks of this turn: watch.py appends those of readers and writers
        self._spare_list: list[Any] | None = None  # an empty list, which the next batch uses
        self._timers = TimerHeap()
        self._new_timers: list[TimerHandle] = []  # not in the heap yet: many are cancelled before they would be
        self._inbox: deque[Handle] = deque()  # any thread appends, the loop's removes
        self._inbox_dirty = False  # any thread sets it, the loop's clears it
        self._closed = False  # set, for good, by close() in event_loop.py
        self._stopping = False  # set by stop(), cleared at the end of a run
        self._thread_id: int | None = None  # event_loop.py: of the thread that runs the loop; others read it
        # _find_overrides sets these: which methods are replaced, in a subclass, on the class or on the object.
        self._version = -1
        self._replaced = False
        self._own_clock = False
        self._own_call_at = False
        self._own_run_once = False
        self._handle_version = -1  # of asyncio.Handle, and its _run: _find_handle_run
        self._handle_run: Any = None
        self._observer: Observer | None = None  # the reactor's too; None: nobody watches
        self.slow_callback_duration = 0.1
        """Debug mode warns of a callback that takes longer than this, in seconds. The program may change it."""

    # Scheduling

    def time(self) -> float:
        """Return the seconds of the loop's clock, time.monotonic(). The timers use an override of this method."""
        return calls.now()

    def _now(self) -> float:
        if self._replaced or interpreter.type_version(self) != self._version or interpreter.has_dict(self):
            self._find_overrides()
        if self._own_clock:
            return float(self.time())
        return calls.now()

    def _find_overrides(self) -> None:
        # Tools replace methods, also while the loop runs: asyncio looks them up for each call, this when the class changes.
        own = type(self)
        self._own_clock = own.time is not Scheduler.time or interpreter.has_own(self, "time")
        self._own_call_at = own.call_at is not Scheduler.call_at or interpreter.has_own(self, "call_at")
        self._own_run_once = own._run_once is not Scheduler._run_once or interpreter.has_own(self, "_run_once")
        self._replaced = self._own_clock or self._own_call_at or self._own_run_once
        self._version = interpreter.type_version(self) or -1  # if it is unknown, a number that no class has
        if interpreter.watched_version() != self._handle_version:
            self._find_handle_run()

    def _find_handle_run(self) -> None:
        # Tools put theirs around asyncio.Handle._run to measure callbacks. Then callbacks are run by it.
        function = stdlib.handle_class._run
        self._handle_version = interpreter.watched_version() or -1
        if function is self._handle_run:
            return
        self._handle_run = function
        replaced = stdlib.is_replaced_run(function)
        observer = self._observer
        if observer is not None:
            observer.run_is_replaced = replaced
            self._observe(observer)
        elif replaced:
            observer = Observer(self)
            observer.run_is_replaced = True
            self._observe(observer)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Run ``callback(*args)`` in the next turn, in the order of the calls. asyncio doc: Scheduling callbacks."""
        if self._closed:
            self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_soon")
        if self._inbox_dirty:
            self._collect_inbox()  # what other threads have scheduled before comes first
        handle = self._handle(callback, args, context)
        self._ready.append(handle)
        return handle  # type: ignore[return-value]

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """``call_soon`` for other threads and for signal handlers; wake the loop."""
        if self._closed:
            self._check_closed()
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
        given: Any
        if _HANDLES_ARE_SHARED:
            given = SharedHandle(callback, args, self, context)
            handle = self._handle(given.run_unless_cancelled, (), given._context)
        else:
            given = handle = self._handle(callback, args, context)
        if interpreter.is_this_thread(self._thread_id) and not self._inbox_dirty:
            self._ready.append(handle)
        else:  # this thread too, if another one came first; a signal handler must not empty the inbox
            self._inbox.append(handle)  # this, the flag, wake: the wake-up protocol's order
            self._inbox_dirty = True
        self.reactor.wake()
        return given  # type: ignore[no-any-return]

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run ``callback(*args)`` in ``delay`` seconds, never earlier. Raise TypeError if the delay is None."""
        if delay is None:
            raise TypeError("delay must not be None")
        if self._closed:
            self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_at")  # the name in asyncio's message: its call_later calls call_at
        if self._replaced or interpreter.type_version(self) != self._version or interpreter.has_dict(self):
            self._find_overrides()
            if self._own_call_at:
                return self.call_at(self.time() + delay, callback, *args, context=context)
            timer = self._timer(self.time() + delay, callback, args, context)
        else:
            timer = self._timer(calls.now() + delay, callback, args, context)
        self._new_timers.append(timer)
        return timer  # type: ignore[return-value]

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run ``callback(*args)`` when ``loop.time()`` has reached ``when``. Raise TypeError if that is None."""
        if when is None:
            raise TypeError("when cannot be None")
        if self._closed:
            self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_at")
        timer = self._timer(when + 0.0, callback, args, context)
        self._new_timers.append(timer)
        return timer  # type: ignore[return-value]

    def create_future(self) -> asyncio.Future[Any]:
        """Return a new Future of this loop. EventLoop decides its class."""
        raise NotImplementedError

    @property
    def _scheduled(self) -> list[TimerHandle]:
        """The pending timers, cancelled ones included, in no order. Tools read it."""
        waiting = self._timers.timers()
        waiting.extend(self._new_timers)  # Python 3.11's ``+`` may run a collection between the sizes and the copies
        return waiting

    # Who watches

    def add_instrument(self, instrument: object) -> None:
        """Call the instrument's methods when the loop waits, runs a callback, or gets or loses a connection.

        edgeloop.Instrument says which methods there are; it need not have all of them. The next callback is the first
        that it is told of. One that raises is removed, and reported to the exception handler. An instrument that is there
        already stays as it is. Call this in the loop's thread, from a callback or an instrument too.

        Raise TypeError if it has none of the methods, and RuntimeError if the loop is closed.
        """
        self._check_closed()
        if self._debug:
            self._check_thread()
        added = Attached(instrument)
        observer = self._observer
        if observer is None:
            observer = Observer(self)
        observer.add(added)
        self._observe(observer)

    def remove_instrument(self, instrument: object) -> None:
        """Call the instrument no more, from now on. Raise KeyError if it is not there."""
        if self._debug:
            self._check_thread()
        observer = self._observer
        if observer is None:
            raise KeyError(instrument)
        observer.remove(instrument)
        self._observe(observer)

    def _observe(self, observer: Observer) -> None:
        # Have this observer, or none if it has nothing to do.
        former = self._observer  # dropped at the end
        self._observer = observer if observer.is_needed() else None
        self.reactor.observer = self._observer
        del former

    # Checks

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def _check_thread(self) -> None:
        if self._thread_id is not None and not interpreter.is_this_thread(self._thread_id):
            raise RuntimeError("Non-thread-safe operation invoked on an event loop other than the current one")

    def _check_callback(self, callback: object, method: str) -> None:
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError(f"coroutines cannot be used with {method}()")
        if not callable(callback):
            raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")

    # State

    def get_debug(self) -> bool:
        """Return True if the loop is in debug mode. asyncio doc: Debug mode."""
        return self._debug

    def is_closed(self) -> bool:
        """Return True if ``close`` was called."""
        return self._closed

    def is_running(self) -> bool:
        """Return True if a thread runs the loop."""
        return self._thread_id is not None

    def stop(self) -> None:
        """Leave ``run_forever`` at the end of this turn, or of the first one if the loop does not run yet."""
        self._stopping = True

    def _report_within(self, context: contextvars.Context, details: dict[str, Any]) -> None:
        # Like asyncio's transports: the exception handler finds the connection's context variables.
        try:
            interpreter.call_none(context, _nothing)
        except RuntimeError:  # the error came up within this context, which can't be entered twice
            self.call_exception_handler(details)
        else:
            interpreter.call_one(context, self.call_exception_handler, details)

    def _discard(self) -> None:
        # The loop closes. Pending callbacks never run.
        observer = self._observer
        if observer is not None:
            observer.clear()
            self._observe(observer)
        self._ready.clear()
        self._fired.clear()
        self._drop_freelists()
        self._spare_list = None
        self._timers.clear()
        self._new_timers.clear()
        self._inbox.clear()

    def _queue_from_signal(self, handle: Handle) -> None:
        # A signal handler runs between any two instructions. Only the inbox is safe then: the wake-up protocol.
        self._inbox.append(handle)
        self._inbox_dirty = True
        self.reactor.wake()

    # The turn

    def _run_once(self) -> None:
        """Run one turn. ``run_forever`` calls an override of this method."""
        if interpreter.watched_version() != self._handle_version:
            self._find_handle_run()  # for a run_forever of others
        self._turn()

    def _turn(self) -> None:
        """Run one turn, in asyncio's order: the ready queue, the callbacks of events, the timers that are due.

        What these schedule by ``call_soon`` runs in the next turn.
        """
        reactor = self.reactor
        counts = reactor.counts
        counts.turns += 1
        if not self._ready or not reactor.may_skip():
            if self._observer is None:
                reactor.wait(self._wait_time())
            else:
                self._wait_observed(self._observer)
        if counts.measuring:
            reactor.figures.turn_begins()
        interpreter.check_signals()
        if self._inbox_dirty:
            self._collect_inbox()
        due = False
        now = 0.0
        if self._new_timers or self._timers.size:
            # The timers that are due now. One that a callback of this turn adds runs in the next turn at the earliest.
            now = self._now()
            due = self._any_is_due(now)
        counts.timers_waiting = self._timers.size  # of which this turn has sorted in the new ones
        counts.ready = 0
        if self._ready:
            if len(self._ready) == 1:
                self._run_only()
            else:
                self._run_batch(False)
        if reactor.next_event < reactor.num_events or reactor.deferred:
            reactor.dispatch()
        if due:
            self._collect_due(now)
        if self._fired:
            self._run_batch(True)
        if reactor.rearm_queue:
            reactor.process_rearm_queue()
        if reactor.flush_queue:
            reactor.flush()

    def _run_turns(self) -> None:
        """Run turns until ``stop`` is called."""
        self.reactor.flush()  # what was written while the loop did not run
        if not (self._ready or self._fired):
            # KeyboardInterrupt from a reader's callback has ended the last turn before that. If there are callbacks to run,
            # readers may be among them: this turn does not sleep, and re-arms at its end.
            self._rearm()
        self.reactor.request_poll()
        while True:
            if self._replaced or interpreter.is_changed(self, self._version, self._handle_version):
                self._find_overrides()
            if self._own_run_once:
                self._run_once()
            else:
                self._turn()
            if self._stopping:
                break
        self._rearm()

    def _rearm(self) -> None:
        # A reader that is not re-armed between two runs would get no event for what it has left.
        while self.reactor.rearm_queue:
            self.reactor.process_rearm_queue()

    def _wait_time(self) -> float:
        # Return the seconds that the turn may sleep, negative for no limit.
        if self._new_timers:
            self._sort_new_timers()
        timeout = -1.0
        timer: Any = None
        if not (self._ready or self._fired or self._inbox_dirty or self._stopping):
            while self._timers.size:
                timer = self._timers.first()
                if not timer._cancelled:
                    # The clock is read as late as possible. Poller.wait makes sure that the timer is not early (rule 12).
                    timeout = self._timers.first_when() - self._now()
                    if not timeout > 0.0:
                        timeout = 0.0  # also if the clock returns NaN
                    break
                self._timers.pop()
                timer._scheduled = False
                self._cancelled_timers -= 1
        # Last, since a timer's destructor or an overridden clock may have scheduled something.
        timer = None
        if self._ready or self._fired or self._inbox_dirty or self._stopping or self._new_timers:
            return 0.0
        return timeout

    def _wait_observed(self, observer: Observer) -> None:
        attached = observer.attached
        timeout = self._wait_time()
        observer.before_wait(attached, 0.0 if self.reactor.deferred else timeout)
        try:
            self.reactor.wait(self._wait_time())  # asked again: an instrument may have scheduled something
        finally:
            observer.after_wait(attached, self.reactor.num_events)

    def _collect_inbox(self) -> None:
        self._inbox_dirty = False  # before the inbox is read: the wake-up protocol
        while self._inbox:
            handle = self._inbox.popleft()
            try:
                self._ready.append(handle)
            except MemoryError:
                self._inbox.appendleft(handle)  # the deque still has the place
                self._inbox_dirty = True
                raise

    def _sort_new_timers(self) -> None:
        new_timers: list[Any] = self._new_timers
        self._new_timers = []
        size = -1
        done = 0
        try:
            size = len(new_timers)  # as in _run_batch
            while done < size:
                following = done + 1  # no memory is asked for between a change and its note: this number may need some
                timer = new_timers[done]
                if timer._cancelled:
                    done = following
                    new_timers[done - 1] = None
                    timer._scheduled = False
                    self._cancelled_timers -= 1
                    if interpreter.unshared(timer):
                        self._keep(timer)
                else:
                    self._timers.push(timer._when, timer)
                    done = following
        finally:
            if done != size:
                self._new_timers[:0] = new_timers[done:]  # those that the heap has no room for wait on

    def _any_is_due(self, now: float) -> bool:
        if self._new_timers:
            self._sort_new_timers()
        timers = self._timers
        if self._cancelled_timers > MIN_CANCELLED_TIMERS and self._cancelled_timers * 2 > timers.size:
            cancelled = timers.purge()
            self._cancelled_timers -= len(cancelled)
            for timer in cancelled:
                timer._scheduled = False
        return timers.size > 0 and not timers.first_when() > now

    def _collect_due(self, now: float) -> None:
        # The new timers of this turn are not in the heap yet. ``not ... >``: with a NaN clock all are due, as on asyncio.
        timers = self._timers
        while timers.size and not timers.first_when() > now:
            timer = timers.pop_into(self._fired)  # where there is no memory for it, it waits on
            timer._scheduled = False
            if timer._cancelled:
                self._fired.pop()
                self._cancelled_timers -= 1
            else:
                counts = self.reactor.counts
                counts.timers += 1
                if counts.measuring and not self._own_clock:
                    self.reactor.figures.record_delay(now - timer._when)

    def _run_only(self) -> None:
        # _run_batch for one handle, without swapping the list. No common method: the pure edition would pay for the call.
        handle: Any = interpreter.take_only(self._ready)
        self.reactor.counts.ready = 1
        try:
            if handle._cancelled:
                return
            if self._debug or self._observer is not None:
                self._run_attended(handle)
            else:
                interpreter.run(handle, handle._context, handle._callback, handle._args)
            counts = self.reactor.counts
            counts.callbacks += 1
            if counts.measuring:
                self.reactor.figures.callback_ended(handle, True)
            if interpreter.unshared(handle):
                self._keep(handle)
            if self.reactor.flush_queue:
                self.reactor.callback_ended()
        finally:
            del handle  # as in interpreter.run

    def _run_batch(self, fired: bool) -> None:
        batch: list[Any] = self._fired if fired else self._ready
        following = [] if self._spare_list is None else self._spare_list
        self._spare_list = None
        if fired:
            self._fired = following
        else:
            self._ready = following
        done = place = 0
        size = -1
        handle: Any = None
        try:
            # After the list was taken: at a call the pure edition runs signal handlers, and what they schedule must not be
            # behind the end of the batch. In here: there may be no memory for a large number.
            size = len(batch)
            if not fired:
                self.reactor.counts.ready = size
            while done < size:
                place = done
                done += 1  # first, as above
                handle = batch[place]
                batch[place] = None  # its task may end before the batch does
                if handle._cancelled:
                    continue
                if self._debug or self._observer is not None:
                    self._run_attended(handle)
                else:
                    interpreter.run(handle, handle._context, handle._callback, handle._args)
                counts = self.reactor.counts
                counts.callbacks += 1
                if counts.measuring:
                    self.reactor.figures.callback_ended(handle, not fired)  # see _collect_due
                if interpreter.unshared(handle):
                    self._keep(handle)
                if self.reactor.flush_queue:
                    self.reactor.callback_ended()
        finally:
            if done == size:
                interpreter.empty(batch)
                self._spare_list = batch
            else:  # SystemExit or KeyboardInterrupt: the others run first in the next turn, as on asyncio
                self._ready[:0] = batch[done:]
            del batch, handle  # as in interpreter.run

    def _run_attended(self, handle: Handle) -> None:
        # In debug mode, or if somebody watches.
        observer = self._observer
        given = handle
        try:
            if observer is None:
                self._run_timed(handle, False)
                return
            attached = observer.attached
            given = handle.given()
            try:
                observer.before_callback(attached, given)
            finally:  # after KeyboardInterrupt too: the handle is in no queue any more
                try:
                    if not handle._cancelled:
                        self._run_timed(handle, observer.run_is_replaced)
                finally:
                    observer.after_callback(attached, given)
        finally:
            del handle, given  # as in interpreter.run

    def _run_timed(self, handle: Handle, by_asyncio: bool) -> None:
        try:
            start = calls.now() if self._debug else 0.0
            if by_asyncio:
                handle.given().run_by_asyncio()
            else:
                interpreter.run(handle, handle._context, handle._callback, handle._args)
            if start:
                self._warn_if_slow(handle, calls.now() - start)
        finally:
            del handle

    def _warn_if_slow(self, handle: Handle, elapsed: float) -> None:
        if elapsed >= self.slow_callback_duration:
            owner = getattr(handle._callback, "__self__", None)
            if isinstance(owner, SharedHandle):
                handle = owner
                owner = getattr(handle._callback, "__self__", None)
            what = repr(owner) if isinstance(owner, asyncio.Task) else repr(handle)
            stdlib.logger().warning("Executing %s took %.3f seconds", what, elapsed)
