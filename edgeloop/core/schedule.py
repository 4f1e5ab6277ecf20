"""What runs when: the ready queue, the timer heap, the inbox of other threads, and the turn.

The ready queue is appended to by ``call_soon``; a turn swaps it out and runs it as a batch, so that what a callback
schedules runs in the next turn. What the kernel and the clock bring has a queue of its own, which runs in the same turn.
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
from .reactor import Reactor
from .timer_heap import TimerHeap

# A heap in which more timers than this are cancelled, and more than half of all, is rebuilt without them.
MIN_CANCELLED_TIMERS = 100

# From 3.14 on the handle of call_soon_threadsafe can be cancelled from other threads.
_HANDLES_ARE_SHARED = sys.version_info >= (3, 14)


def _nothing() -> None:
    pass


class Scheduler(HandleSource):
    """The part of an event loop that says what runs when, around a Reactor that says what is ready."""

    def __init__(self) -> None:
        HandleSource.__init__(self)
        self.reactor = Reactor()
        self._ready: list[Handle] = []  # what call_soon was given
        self._fired: list[Handle] = []  # callbacks of readers, writers and timers, for this turn
        self._spare_list: list[Any] | None = None  # a batch that was run, to be filled again
        self._timers = TimerHeap()
        self._new_timers: list[TimerHandle] = []  # of this turn: many are cancelled before the heap has to know them
        self._inbox: deque[Handle] = deque()  # append and popleft are atomic: no lock
        self._inbox_dirty = False  # something may be in the inbox: set after it was put there
        self._closed = False
        self._stopping = False
        self._thread_id: int | None = None
        # What somebody has put in place of ours, in a subclass, on the class or on the loop itself, before or later:
        # _find_overrides.
        self._version = -1
        self._replaced = False
        self._own_clock = False
        self._own_call_at = False
        self._own_run_once = False
        self.slow_callback_duration = 0.1
        """Debug mode warns of a callback that takes longer than this, in seconds."""

    # Scheduling

    def time(self) -> float:
        """The loop's clock: time.monotonic(), in seconds. One that is put in its place is what the timers go by."""
        return calls.now()

    def _now(self) -> float:
        if self._replaced or interpreter.type_version(self) != self._version or interpreter.has_dict(self):
            self._find_overrides()
        if self._own_clock:
            return float(self.time())
        return calls.now()

    def _find_overrides(self) -> None:
        # Whether somebody has put something in place of ours. Tools do, also while the loop runs, and asyncio looks its own
        # methods up for each call; here the class is looked at again when it has changed.
        own = type(self)
        self._own_clock = own.time is not Scheduler.time or interpreter.has_own(self, "time")
        self._own_call_at = own.call_at is not Scheduler.call_at or interpreter.has_own(self, "call_at")
        self._own_run_once = own._run_once is not Scheduler._run_once or interpreter.has_own(self, "_run_once")
        self._replaced = self._own_clock or self._own_call_at or self._own_run_once
        self._version = interpreter.type_version(self) or -1  # never the same, if it is not known

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Run ``callback(*args)`` in the next turn; first come, first served. asyncio doc: Scheduling callbacks."""
        if self._closed:
            self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_soon")
        if self._inbox_dirty:
            self._collect_inbox()  # first come, first served, from whatever thread
        handle = self._handle(callback, args, context)
        self._ready.append(handle)
        return handle  # type: ignore[return-value]

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """``call_soon`` for other threads and for signal handlers: wakes the loop."""
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
        if interpreter.is_this_thread(self._thread_id):
            self._ready.append(handle)
        else:
            self._inbox.append(handle)
            self._inbox_dirty = True
        self.reactor.wake()
        return given  # type: ignore[no-any-return]

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run ``callback(*args)`` in ``delay`` seconds, never earlier. TypeError if the delay is None."""
        if delay is None:
            raise TypeError("delay must not be None")
        if self._closed:
            self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_at")  # the stdlib's call_later goes through call_at, and says so
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
        """Run ``callback(*args)`` when ``loop.time()`` has reached ``when``. TypeError if that is None."""
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
        """A Future of this loop; the loop says which."""
        raise NotImplementedError

    @property
    def _scheduled(self) -> list[TimerHandle]:
        """The timers that wait, cancelled ones too, in no order; tools look here."""
        waiting = self._timers.timers()
        waiting.extend(self._new_timers)  # Python 3.11's ``+`` may run a collection between the sizes and the copies
        return waiting

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
        """Whether the loop is in debug mode. asyncio doc: Debug mode."""
        return self._debug

    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def is_running(self) -> bool:
        """Whether the loop runs now."""
        return self._thread_id is not None

    def stop(self) -> None:
        """Leave ``run_forever`` at the end of this turn, or of the first one if the loop does not run yet."""
        self._stopping = True

    def _report_within(self, context: contextvars.Context, details: dict[str, Any]) -> None:
        # As asyncio's transports, whose errors are reported in the context that they are called in: the handler finds the
        # connection's context variables. What is reported may have come up in the middle of it.
        try:
            interpreter.call_none(context, _nothing)
        except RuntimeError:  # it can't be entered twice
            self.call_exception_handler(details)
        else:
            interpreter.call_one(context, self.call_exception_handler, details)

    def _discard(self) -> None:
        # The loop closes: what still waits never runs.
        self._ready.clear()
        self._fired.clear()
        self._drop_freelists()
        self._spare_list = None
        self._timers.clear()
        self._new_timers.clear()
        self._inbox.clear()

    def _queue_from_signal(self, handle: Handle) -> None:
        # From a signal handler, at any point of the code: the inbox alone can take that.
        self._inbox.append(handle)
        self._inbox_dirty = True
        self.reactor.wake()

    # The turn

    def _run_once(self) -> None:
        """One turn; ``run_forever`` calls this if somebody has put their own in its place."""
        self._turn()

    def _turn(self) -> None:
        """One turn, as asyncio's: what waited for it, then what the kernel brings, then the timers that are due.

        What any of these schedules by ``call_soon`` waits for the next turn, in its order.
        """
        reactor = self.reactor
        if not self._ready or not reactor.may_skip():
            reactor.wait(self._wait_time())
        interpreter.check_signals()
        if self._inbox_dirty:
            self._collect_inbox()
        due = False
        now = 0.0
        if self._new_timers or self._timers.size:
            # Those that are due now: what this turn's callbacks add is for the next one, whenever it is due.
            now = self._now()
            due = self._any_is_due(now)
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
        """Turn until ``stop`` is called."""
        self.reactor.flush()  # what was written while the loop wasn't running
        self.reactor.request_poll()
        while True:
            if self._replaced or interpreter.type_version(self) != self._version or interpreter.has_dict(self):
                self._find_overrides()
            if self._own_run_once:
                self._run_once()
            else:
                self._turn()
            if self._stopping:
                break
        while self.reactor.rearm_queue:
            self.reactor.process_rearm_queue()  # nothing is left half done between two runs

    def _wait_time(self) -> float:
        # Seconds the turn may sleep; negative: until something happens.
        if self._new_timers:
            self._sort_new_timers()
        timeout = -1.0
        timer: Any = None
        if not (self._ready or self._fired or self._inbox_dirty or self._stopping):
            while self._timers.size:
                timer = self._timers.first()
                if not timer._cancelled:
                    # The time of day is read as late as can be; epoll_pwait2 or the rounding up in the kernel package make
                    # sure that it is not early (rule 12).
                    timeout = self._timers.first_when() - self._now()
                    if not timeout > 0.0:
                        timeout = 0.0  # also of a clock that says NaN
                    break
                self._timers.pop()
                timer._scheduled = False
                self._cancelled_timers -= 1
        # Last of all: the end of a timer, and a clock that is not ours, may have run code that scheduled.
        timer = None
        if self._ready or self._fired or self._inbox_dirty or self._stopping or self._new_timers:
            return 0.0
        return timeout

    def _collect_inbox(self) -> None:
        self._inbox_dirty = False  # before the last look: who posts after that sets it again
        while self._inbox:
            self._ready.append(self._inbox.popleft())

    def _sort_new_timers(self) -> None:
        new_timers: list[Any] = self._new_timers
        self._new_timers = []
        for place in range(len(new_timers)):
            timer = new_timers[place]
            if timer._cancelled:
                timer._scheduled = False
                self._cancelled_timers -= 1
                new_timers[place] = None
                if interpreter.unshared(timer):
                    self._keep(timer)
            else:
                self._timers.push(timer._when, timer)

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
        # Those of this turn are not in the heap yet. By ``not ... >``: all are due by a clock that says NaN, as on asyncio.
        timers = self._timers
        while timers.size and not timers.first_when() > now:
            timer = timers.pop()
            timer._scheduled = False
            if timer._cancelled:
                self._cancelled_timers -= 1
            else:
                self._fired.append(timer)

    def _run_only(self) -> None:
        # What _run_batch does, for one: no other list has to take the place of the one that is run. Not one method for
        # both: to call it cost each callback of a batch 800 instructions in the pure edition.
        handle: Any = interpreter.take_last(self._ready)
        try:
            if handle._cancelled:
                return
            start = calls.now() if self._debug else 0.0
            interpreter.run(handle, handle._context, handle._callback, handle._args)
            if start:
                self._warn_if_slow(handle, calls.now() - start)
            if interpreter.unshared(handle):
                self._keep(handle)
            if self.reactor.flush_queue:
                self.reactor.callback_ended()
        finally:
            del handle  # as in _run_batch

    def _run_batch(self, fired: bool) -> None:
        batch: list[Any] = self._fired if fired else self._ready
        following = [] if self._spare_list is None else self._spare_list
        self._spare_list = None
        if fired:
            self._fired = following
        else:
            self._ready = following
        size = len(batch)
        done = 0
        handle: Any = None
        try:
            while done < size:
                handle = batch[done]
                batch[done] = None  # done with, and its task may go before the batch has ended
                done += 1
                if handle._cancelled:
                    continue
                start = calls.now() if self._debug else 0.0
                interpreter.run(handle, handle._context, handle._callback, handle._args)
                if start:
                    self._warn_if_slow(handle, calls.now() - start)
                if interpreter.unshared(handle):
                    self._keep(handle)
                if self.reactor.flush_queue:
                    self.reactor.callback_ended()
        finally:
            if done == size:
                interpreter.empty(batch)
                self._spare_list = batch
            elif fired:  # SystemExit or KeyboardInterrupt: the others keep their place
                self._fired[:0] = batch[done:]
            else:
                self._ready[:0] = batch[done:]
            # A traceback that a task keeps of its exception refers to this frame: it must not lead back to the task.
            del batch, handle

    def _warn_if_slow(self, handle: Handle, elapsed: float) -> None:
        if elapsed >= self.slow_callback_duration:
            owner = getattr(handle._callback, "__self__", None)
            if isinstance(owner, SharedHandle):
                handle = owner
                owner = getattr(handle._callback, "__self__", None)
            what = repr(owner) if isinstance(owner, asyncio.Task) else repr(handle)
            stdlib.logger().warning("Executing %s took %.3f seconds", what, elapsed)
