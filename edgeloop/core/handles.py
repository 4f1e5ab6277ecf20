"""Handles: the callbacks that wait for their turn or their time. A loop makes them and uses them again.

A handle whose callback has run, and that nobody refers to, gets the next callback: allocating and freeing an object costs more
than the rest of a ``call_soon``.

- The thread that runs the loop makes, cancels and runs handles. ``call_soon_threadsafe`` makes them in any thread. Only a
  SharedHandle may be cancelled in any thread.
- No function raises what a callback has raised, but SystemExit and KeyboardInterrupt: ``report`` passes it to the loop.
- Dropping a callback, its arguments or its context may run any code. So a method changes the handle first, and drops the old
  values last.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import traceback
from collections.abc import Callable
from typing import Any

from .. import stdlib
from ..kernel import interpreter

# The frames of these files are on top of the stack when a handle is made. The caller in whom debug mode is interested is
# below them. (A compiled function has no frame.)
_PACKAGE = os.path.dirname(stdlib.__file__)
MAKERS = [os.path.join(_PACKAGE, *path) for path in (("stdlib.py",), ("core", "handles.py"), ("core", "scheduling.py"))]


class _AsyncioHandle(asyncio.Handle):
    """The ``__class__`` of a Handle, for ``isinstance``: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class _AsyncioTimerHandle(asyncio.TimerHandle):
    """The ``__class__`` of a TimerHandle."""

    __slots__ = ()


class Handle:
    """A callback that waits for its turn: asyncio.Handle, as ``call_soon`` returns it.

    It ends when the callback has run or ``cancel`` was called. Once it is made, only the loop's thread changes an
    attribute, and between two uses only the HandleSource.
    """

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: HandleSource,
        context: contextvars.Context | None = None,
    ) -> None:
        if context is None:
            context = interpreter.copy_context()
        self._callback: Any = callback  # None once it is cancelled: ``cancel`` sets it
        self._args: Any = args  # likewise
        self._context: contextvars.Context = context  # never None while it waits
        self._loop = loop  # never changed
        self._cancelled = False  # set by ``cancel``, cleared for the next use
        self._repr: str | None = None  # debug mode: ``cancel`` sets it
        self._source_traceback: traceback.StackSummary | None = None  # debug mode: ``record_source`` sets it
        if loop._debug:
            self.record_source()

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.Handle]:  # type: ignore[override]
        return _AsyncioHandle

    def cancel(self) -> None:
        """Keep the callback from running. Do nothing if it has run."""
        if not self._cancelled:
            handle = self  # a caller in C may hold the only reference, in an attribute that code run here may change
            handle._cancelled = True
            if handle._loop._debug:
                handle._repr = repr(handle)  # before the callback is dropped
            # Dropped last: their destructors find the handle as it will stay.
            callback, args = handle._callback, handle._args
            handle._callback = None
            handle._args = None
            del args, callback, handle

    def cancelled(self) -> bool:
        """Return True if ``cancel`` was called."""
        return self._cancelled

    def get_context(self) -> contextvars.Context:
        """Return the context that the callback runs in. asyncio has this from Python 3.12 on."""
        return self._context

    def __repr__(self) -> str:
        if self._repr is not None:
            return self._repr
        return f"<{' '.join(self._describe('Handle'))}>"

    def _describe(self, name: str) -> list[str]:
        words = [name]
        if self._cancelled:
            words.append("cancelled")
        if self._callback is not None:
            words.append(stdlib.describe_callback(self._callback, self._args or (), self._loop._debug))
        if self._source_traceback:
            frame = self._source_traceback[-1]
            words.append(f"created at {frame[0]}:{frame[1]}")
        return words

    def _run(self) -> None:
        # For programs that call it. If the handle is cancelled, the call of None is reported.
        interpreter.run(self, self._context, self._callback, () if self._args is None else self._args)

    def report(self, exc: BaseException) -> None:
        """Pass what the callback has raised to the loop's exception handler."""
        owner = getattr(self._callback, "__self__", None)
        if isinstance(owner, SharedHandle) and self._callback == owner.run_unless_cancelled:
            owner.report(exc)  # the queue has this handle in place of that one
            return
        text = stdlib.describe_callback(self._callback, self._args or (), self._loop._debug)
        context = {"message": f"Exception in callback {text}", "exception": exc, "handle": self}
        if self._source_traceback:
            context["source_traceback"] = self._source_traceback
        self._loop.call_exception_handler(context)

    def given(self) -> Handle:
        """Return the handle that the program has: not this one, if it stands in the queue for a SharedHandle."""
        owner = getattr(self._callback, "__self__", None)
        if type(owner) is SharedHandle and self._callback == owner.run_unless_cancelled:
            return owner
        return self

    def run_by_asyncio(self) -> None:
        """Run the callback by asyncio's ``Handle._run``, which a program has replaced. Raise what that raises."""
        stdlib.run_handle(self)

    def record_source(self) -> None:
        """Record where the callback was scheduled. Debug mode only."""
        stack = stdlib.extract_stack()
        while stack and stack[-1].filename in MAKERS:
            del stack[-1]
        self._source_traceback = stack


class SharedHandle(Handle):
    """The handle of ``call_soon_threadsafe`` from Python 3.14 on. Any thread may cancel it; it waits while the callback runs.

    The queue has a plain Handle that calls ``run_unless_cancelled``. So other handles need no lock.
    """

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: HandleSource,
        context: contextvars.Context | None = None,
    ) -> None:
        Handle.__init__(self, callback, args, loop, context)
        self._lock = threading.RLock()  # never changed; held while the callback runs

    def cancel(self) -> None:
        """Keep the callback from running. If another thread is running it, wait until it returns."""
        with self._lock:
            Handle.cancel(self)

    def cancelled(self) -> bool:
        """Return True if ``cancel`` was called. Wait like ``cancel``."""
        with self._lock:
            return self._cancelled

    def _run(self) -> None:
        with self._lock:
            if not self._cancelled:
                Handle._run(self)

    def run_by_asyncio(self) -> None:
        """``Handle.run_by_asyncio``, unless it is cancelled; other threads' ``cancel`` waits for it."""
        with self._lock:
            if not self._cancelled:
                Handle.run_by_asyncio(self)

    def run_unless_cancelled(self) -> None:
        """Run the callback, unless it is cancelled. The caller has entered the context, and reports what this raises."""
        with self._lock:
            try:
                if not self._cancelled:
                    self._callback(*self._args)
            finally:
                del self  # as in interpreter.run


class EventHandle(Handle):
    """The events of a descriptor, for who watches callbacks: asyncio's loop makes a handle of them too.

    The callback is a method of the Channel. It is in no queue, and is used once.
    """

    def _describe(self, name: str) -> list[str]:
        return ["Handle", "events of", repr(getattr(self._callback, "__self__", None))]


class TimerHandle(Handle):
    """A callback that waits for a time: asyncio.TimerHandle, as ``call_later`` and ``call_at`` return it."""

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: HandleSource,
        context: contextvars.Context | None = None,
    ) -> None:
        Handle.__init__(self, callback, args, loop, context)
        self._when = float(when)  # never changed while it waits
        self._scheduled = False  # it is among the loop's timers: the Scheduler changes it

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.TimerHandle]:  # type: ignore[override]
        return _AsyncioTimerHandle

    def when(self) -> float:
        """Return the time at which it is due, in seconds of ``loop.time()``."""
        return self._when

    def cancel(self) -> None:
        """Keep the callback from running."""
        if not self._cancelled and self._scheduled:
            self._loop._timer_cancelled()
        Handle.cancel(self)

    def _describe(self, name: str) -> list[str]:
        words = Handle._describe(self, "TimerHandle")
        words.insert(2 if self._cancelled else 1, f"when={self._when}")
        return words

    def __hash__(self) -> int:
        return hash(self._when)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, TimerHandle):
            return NotImplemented
        return self._when < other._when

    def __le__(self, other: object) -> bool:
        if not isinstance(other, TimerHandle):
            return NotImplemented
        return self._when < other._when or self.__eq__(other)

    def __gt__(self, other: object) -> bool:
        if not isinstance(other, TimerHandle):
            return NotImplemented
        return self._when > other._when

    def __ge__(self, other: object) -> bool:
        if not isinstance(other, TimerHandle):
            return NotImplemented
        return self._when > other._when or self.__eq__(other)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TimerHandle):
            return NotImplemented
        return (
            self._when == other._when
            and self._callback == other._callback
            and self._args == other._args
            and self._cancelled == other._cancelled
        )


class HandleSource:
    """The part of an event loop that makes handles, and that they refer to.

    Only the loop's thread changes an attribute. ``call_soon_threadsafe`` takes handles from the free list in other threads:
    under the GIL no other code runs between the check of its size and the taking.
    """

    def __init__(self) -> None:
        self._debug = stdlib.debug_by_default()  # set by ``set_debug``
        self._cancelled_timers = 0  # of the pending timers: TimerHandle.cancel adds, the Scheduler subtracts
        # Handles to be used again, in the first places of each list. The other places are None.
        self._freelist: list[Any] = [None] * interpreter.FREELIST_LIMIT
        self._timer_freelist: list[Any] = [None] * interpreter.FREELIST_LIMIT
        self._freelist_limit = interpreter.FREELIST_LIMIT  # 0 once the loop is closed
        self._freelist_size = 0  # _handle and _keep change it
        self._timer_freelist_size = 0  # _timer and _keep change it

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an exception that no caller can catch. The loop overrides this."""
        raise NotImplementedError

    def _handle(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> Handle:
        if self._freelist_size:
            self._freelist_size = self._freelist_size - 1  # -= takes 10 instructions more, compiled
            handle: Handle = interpreter.swap_out(self._freelist, self._freelist_size)
            handle._cancelled = False
        else:
            # __new__, because a call of a compiled class packs the arguments into a tuple.
            handle = Handle.__new__(Handle)
            handle._loop = self
            handle._cancelled = False
            handle._repr = None
            handle._source_traceback = None
        handle._callback = callback
        handle._args = args
        handle._context = interpreter.copy_context() if context is None else context
        if self._debug:
            handle.record_source()
        return handle

    def _timer(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> TimerHandle:
        when = float(when)
        if when != when:
            raise ValueError(f"a timer needs a number of seconds, not {when!r}")
        if self._timer_freelist_size:
            self._timer_freelist_size -= 1
            timer: TimerHandle = interpreter.swap_out(self._timer_freelist, self._timer_freelist_size)
            timer._cancelled = False
        else:
            timer = TimerHandle.__new__(TimerHandle)
            timer._loop = self
            timer._cancelled = False
            timer._repr = None
            timer._source_traceback = None
        timer._callback = callback
        timer._args = args
        timer._context = interpreter.copy_context() if context is None else context
        if self._debug:
            timer.record_source()
        timer._when = when
        timer._scheduled = True
        return timer

    def _event_handle(self, callback: Callable[..., object], args: tuple[Any, ...]) -> EventHandle:
        handle = EventHandle.__new__(EventHandle)
        handle._loop = self
        handle._cancelled = False
        handle._repr = None
        handle._source_traceback = None  # in debug mode too: nothing in the program has scheduled it
        handle._callback = callback
        handle._args = args
        handle._context = interpreter.copy_context()
        return handle

    def _keep(self, handle: Handle) -> None:
        # Put a handle that only the caller refers to into the free list.
        if handle._repr is not None or handle._source_traceback is not None:
            return  # from debug mode
        # Dropping these may run code that schedules, in this thread or others. So the handle goes into the free list, and the
        # size of that is read, only after it.
        handle._callback = None
        handle._args = None
        handle._context = None  # type: ignore[assignment]  # no code sees the handle before it has another one
        if type(handle) is Handle:
            if self._freelist_size < self._freelist_limit and interpreter.unshared(handle):
                interpreter.swap_in(self._freelist, self._freelist_size, handle)
                self._freelist_size = self._freelist_size + 1
        elif type(handle) is TimerHandle:
            if self._timer_freelist_size < self._freelist_limit and interpreter.unshared(handle):
                interpreter.swap_in(self._timer_freelist, self._timer_freelist_size, handle)
                self._timer_freelist_size += 1

    def _timer_cancelled(self) -> None:
        self._cancelled_timers += 1

    def _drop_freelists(self) -> None:
        self._freelist_limit = self._freelist_size = self._timer_freelist_size = 0
        self._freelist = []
        self._timer_freelist = []
