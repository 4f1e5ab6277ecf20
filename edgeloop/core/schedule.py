"""What runs when: the turn.

``call_soon`` appends to the ready queue (scheduling.py). A turn swaps the queue out and runs it as a batch, so what a callback
schedules runs in the next turn. The callbacks of readers, writers and timers are in ``_fired``, which runs in the same turn.
"""

from __future__ import annotations

import asyncio
from typing import Any

from .. import stdlib
from ..kernel import calls, interpreter
from .handles import Handle, SharedHandle
from .observer import Observer
from .scheduling import Scheduling

# If more timers than this are cancelled, and more than half of all, the heap is rebuilt without them.
MIN_CANCELLED_TIMERS = 100

# Where an interruption has ended a turn.
FINISHED = 0
IN_READY_QUEUE = 1  # or right before the events are dispatched
IN_FIRED = 2

# It has another version when a program has replaced one of its methods.
interpreter.watch_class(stdlib.handle_class)


class Scheduler(Scheduling):
    """The part of an event loop that decides what runs when. Its Reactor says which descriptors are ready."""

    def __init__(self) -> None:
        Scheduling.__init__(self)
        # A turn that was interrupted: _resume_turn.
        self._unfinished = FINISHED
        self._interrupted: list[Any] | None = None  # the batch of that
        self._interrupted_at = 0  # the index of what is left of it
        self._turn_time = 0.0  # the clock of the last turn that had timers
        self._spare_list: list[Any] | None = None  # an empty list, which the next batch uses
        self.slow_callback_duration = 0.1
        """Debug mode warns of a callback that takes longer than this, in seconds. The program may change it."""

    def _discard(self) -> None:
        Scheduling._discard(self)
        self._interrupted = None
        self._spare_list = None

    # What tools replace

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

    # The turn

    def _run_once(self) -> None:
        """Run one turn. ``run_forever`` calls an override of this method."""
        if interpreter.watched_version() != self._handle_version:
            self._find_handle_run()  # for a run_forever of others
        if self._unfinished != FINISHED or self.reactor.interrupted:
            self._resume_turn()
        self._turn()

    def _turn(self) -> None:
        """Run one turn, in asyncio's order: the ready queue, the callbacks of events, the timers that are due.

        What these schedule by ``call_soon`` runs in the next turn.
        """
        reactor = self.reactor
        counts = reactor.counts
        counts.turns += 1
        waits = not self._ready or not reactor.may_skip()
        if waits:
            if self._observer is None:
                reactor.wait(self._wait_time())
            else:
                self._wait_observed(self._observer)
        if counts.measuring:
            reactor.figures.turn_begins()
        if waits:  # else the turn before has done so, or the next will
            interpreter.check_signals()
        if self._inbox_dirty:
            self._collect_inbox()
        due = False
        now = 0.0
        if self._new_timers or self._timers.size:
            # The timers that are due now. One that a callback of this turn adds runs in the next turn at the earliest.
            now = self._turn_time = self._now()
            due = self._any_is_due(now)
        counts.timers_waiting = self._timers.size  # of which this turn has sorted in the new ones
        ready = len(self._ready)
        counts.ready = ready
        if ready == 1:
            self._run_only()
        elif ready:
            self._run_batch(False)
        if reactor.next_event < reactor.num_events or reactor.first_deferred is not None:
            reactor.dispatch()
        if due:
            self._collect_due(now)
        if self._fired:
            self._run_batch(True)
        if reactor.first_rearm is not None:
            reactor.process_rearm_queue()
        if reactor.flush_queue:
            reactor.flush()

    def _run_turns(self) -> None:
        """Run turns until ``stop`` is called."""
        if self._unfinished != FINISHED or self.reactor.interrupted:
            self._resume_turn()
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
        while self.reactor.first_rearm is not None:
            self.reactor.process_rearm_queue()

    def _resume_turn(self) -> None:
        # SystemExit, KeyboardInterrupt or MemoryError has ended a turn. The callbacks, events and timers that it had still to
        # run come before what its callbacks have scheduled: asyncio has them in one queue. They stay where they are until
        # here, for there may be no memory to move them.
        rest: list[Any] = []
        interrupted = self._interrupted
        if interrupted is not None:
            rest = interrupted[self._interrupted_at :]
        if self._unfinished != IN_FIRED:
            rest.append(self._handle(self._finish_turn, (), None))
        self._ready[:0] = rest
        self._interrupted = None
        self._unfinished = FINISHED
        self.reactor.interrupted = False

    def _finish_turn(self) -> None:
        # A callback of the turn that goes on with one that was interrupted: the events and timers of that.
        reactor = self.reactor
        if reactor.next_event < reactor.num_events or reactor.first_deferred is not None:
            reactor.dispatch()
            reactor.resumed = reactor.first_deferred is not None  # rule 3: one buffer in each turn
        if self._timers.size:
            self._collect_due(self._turn_time)
        if self._fired:
            self._run_batch(True)

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
        observer.before_wait(attached, timeout if self.reactor.first_deferred is None else 0.0)
        try:
            self.reactor.wait(self._wait_time())  # asked again: an instrument may have scheduled something
        finally:
            observer.after_wait(attached, self.reactor.num_events)

    def _sort_new_timers(self) -> None:
        # In place: what the heap has no room for stays where it is. What a destructor appends meanwhile waits, or one that
        # does that for ever would keep the loop here.
        new_timers: list[Any] = self._new_timers
        size = len(new_timers)
        done = 0
        while done < size:
            timer = new_timers[done]
            if timer is not None:  # else it was moved before another could not be
                if not timer._cancelled:
                    self._timers.push(timer._when, timer)
                    new_timers[done] = None
                else:
                    new_timers[done] = None
                    timer._scheduled = False
                    self._cancelled_timers -= 1
                    if interpreter.unshared(timer):
                        self._keep(timer)
            done += 1
        # Not all: at a call the pure edition runs signal handlers, and what they append is behind the end.
        interpreter.drop_first(new_timers, size)

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
        completed = False
        try:
            if not handle._cancelled:
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
            completed = True
        finally:
            if not completed:
                self._unfinished = IN_READY_QUEUE
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
        completed = False
        handle: Any = None
        try:
            # After the list was taken: at a call the pure edition runs signal handlers, and what they schedule must not be
            # behind the end of the batch. In here: there may be no memory for a large number.
            size = len(batch)
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
            completed = True
        finally:
            if not completed:
                self._unfinished = IN_FIRED if fired else IN_READY_QUEUE
            if done == size:
                interpreter.empty(batch)
                self._spare_list = batch
            else:
                interrupted = self._interrupted
                if interrupted is not None:  # of a batch within this one: _finish_turn
                    batch[done:done] = interrupted[self._interrupted_at :]
                self._interrupted_at = done
                self._interrupted = batch
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
