"""What is to run: the ready queue, the new timers, the inbox of other threads, and the methods that fill them.

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

from ..kernel import calls, interpreter
from .handles import Handle, HandleSource, SharedHandle, TimerHandle
from .observer import Attached, Observer
from .reactor import Reactor
from .timer_heap import TimerHeap

# From 3.14 on any thread may cancel the handle of call_soon_threadsafe.
_HANDLES_ARE_SHARED = sys.version_info >= (3, 14)


def _nothing() -> None:
    pass


class Scheduling(HandleSource):
    """The part of an event loop that takes what is to run. Scheduler runs it.

    It owns no descriptor but the Reactor's. ``_discard`` and ``Reactor.close`` end it. Where no line says otherwise, only
    this class and Scheduler change an attribute, in the thread that runs the loop, or in any one thread while none does.
    """

    def __init__(self) -> None:
        HandleSource.__init__(self)
        self.reactor = Reactor()  # never replaced
        self._ready: list[Handle] = []  # the ready queue
        self._fired: list[Handle] = []  # callbacks of this turn: watch.py appends those of readers and writers
        self._timers = TimerHeap()
        self._new_timers: list[Any] = []  # not in the heap yet: many are cancelled before they would be
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

    def time(self) -> float:
        """Return the seconds of the loop's clock, time.monotonic(). The timers use an override of this method."""
        return calls.now()

    def _now(self) -> float:
        if self._replaced or interpreter.type_version(self) != self._version or interpreter.has_dict(self):
            self._find_overrides()
        if self._own_clock:
            return float(self.time())
        return calls.now()

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
        return [timer for timer in waiting if timer is not None]

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
        self._timers.clear()
        self._new_timers.clear()
        self._inbox.clear()

    def _queue_from_signal(self, handle: Handle) -> None:
        # A signal handler runs between any two instructions. Only the inbox is safe then: the wake-up protocol.
        self._inbox.append(handle)
        self._inbox_dirty = True
        self.reactor.wake()

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

    # By Scheduler

    def _find_overrides(self) -> None:
        raise NotImplementedError
