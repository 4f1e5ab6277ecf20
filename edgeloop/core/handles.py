"""Handles: the callbacks that wait for their turn or their time, and how a loop makes them and uses them again.

The handle of a callback that has run, and that nobody else refers to, is given to the next: to make an object and end it
costs more than what else a ``call_soon`` does.
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

# Whose frames are on top when a handle is made, in the pure edition: they are not who asked for it.
MAKERS = [os.path.join(os.path.dirname(__file__), name) for name in ("handles.py", "schedule.py", "stdlib.py")]


class _AsyncioHandle(asyncio.Handle):
    """What ``isinstance`` sees of a Handle: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class _AsyncioTimerHandle(asyncio.TimerHandle):
    """What ``isinstance`` sees of a TimerHandle."""

    __slots__ = ()


class Handle:
    """A callback that waits for its turn: asyncio.Handle, as ``call_soon`` returns it."""

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: HandleSource,
        context: contextvars.Context | None = None,
    ) -> None:
        if context is None:
            context = interpreter.copy_context()
        self._callback: Any = callback  # None, as the arguments, once cancelled
        self._args: Any = args
        self._context: contextvars.Context = context
        self._loop = loop
        self._cancelled = False
        self._repr: str | None = None
        self._source_traceback: traceback.StackSummary | None = None
        if loop._debug:
            self.record_source()

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.Handle]:  # type: ignore[override]
        return _AsyncioHandle

    def cancel(self) -> None:
        """Keep the callback from running; what has run already is not undone."""
        if not self._cancelled:
            handle = (
                self  # who calls from C may have the only reference in an attribute, which what runs here may change
            )
            handle._cancelled = True
            if handle._loop._debug:
                handle._repr = repr(handle)  # while the callback can still be named
            # Moved here first: what their end runs finds the handle as it will stay.
            callback, args = handle._callback, handle._args
            handle._callback = None
            handle._args = None
            del args, callback, handle

    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self._cancelled

    def get_context(self) -> contextvars.Context:
        """The context the callback runs in (asyncio has this from 3.12 on)."""
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
        # For those who call it themselves, perhaps when it is cancelled: then None is called, and that is reported.
        interpreter.run(self, self._context, self._callback, () if self._args is None else self._args)

    def report(self, exc: BaseException) -> None:
        """Tell the loop's exception handler what the callback raised."""
        owner = getattr(self._callback, "__self__", None)
        if isinstance(owner, SharedHandle) and self._callback == owner.run_unless_cancelled:
            owner.report(exc)  # it is in the queue for that one
            return
        text = stdlib.describe_callback(self._callback, self._args or (), self._loop._debug)
        context = {"message": f"Exception in callback {text}", "exception": exc, "handle": self}
        if self._source_traceback:
            context["source_traceback"] = self._source_traceback
        self._loop.call_exception_handler(context)

    def record_source(self) -> None:
        """Debug mode: remember who scheduled the callback."""
        stack = stdlib.extract_stack()
        while stack and stack[-1].filename in MAKERS:
            del stack[-1]
        self._source_traceback = stack


class SharedHandle(Handle):
    """What ``call_soon_threadsafe`` returns from Python 3.14 on: any thread may cancel it, and waits while it runs.

    It is not in the queue itself, but what calls its ``run_unless_cancelled``: so other handles know nothing of this.
    """

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: HandleSource,
        context: contextvars.Context | None = None,
    ) -> None:
        Handle.__init__(self, callback, args, loop, context)
        self._lock = threading.RLock()

    def cancel(self) -> None:
        """Keep the callback from running; if another thread runs it at this moment, wait until it has ended."""
        with self._lock:
            Handle.cancel(self)

    def cancelled(self) -> bool:
        """Whether ``cancel`` was called; waits as that does."""
        with self._lock:
            return self._cancelled

    def _run(self) -> None:
        with self._lock:
            if not self._cancelled:
                Handle._run(self)

    def run_unless_cancelled(self) -> None:
        """Call back; in the handle's context already. What it raises is reported out of it: ``Handle.report``."""
        with self._lock:
            try:
                if not self._cancelled:
                    self._callback(*self._args)
            finally:
                del self  # as in interpreter.run


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
        self._when = float(when)
        self._scheduled = False

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.TimerHandle]:  # type: ignore[override]
        return _AsyncioTimerHandle

    def when(self) -> float:
        """The time it is due, in seconds of ``loop.time()``."""
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
    """The part of an event loop that its handles know, and that makes them."""

    def __init__(self) -> None:
        self._debug = stdlib.debug_by_default()
        self._cancelled_timers = 0  # of those that wait
        # Handles that have run and that nobody refers to, to be used again: the first so many places of each list.
        self._freelist: list[Any] = [None] * interpreter.FREELIST_LIMIT
        self._timer_freelist: list[Any] = [None] * interpreter.FREELIST_LIMIT
        self._freelist_limit = interpreter.FREELIST_LIMIT  # none once the loop is closed
        self._freelist_size = 0
        self._timer_freelist_size = 0

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report what nobody can catch; the loop says how."""
        raise NotImplementedError

    def _handle(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> Handle:
        if self._freelist_size:
            self._freelist_size -= 1
            handle: Handle = interpreter.swap_out(self._freelist, self._freelist_size)
            handle._cancelled = False
        else:
            # By __new__: compiled, a call of the class would pack the arguments into a tuple first.
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

    def _keep(self, handle: Handle) -> None:
        # Nobody refers to it any more: it will do for another callback.
        if handle._repr is not None or handle._source_traceback is not None:
            return  # debug mode's
        # The end of what it held can run code that schedules, and let other threads run that do: until that is over, nobody
        # may have the handle again, and how many spare ones there are isn't known.
        handle._callback = None
        handle._args = None
        handle._context = None  # type: ignore[assignment]  # nobody sees it until it has another one
        if type(handle) is Handle:
            if self._freelist_size < self._freelist_limit and interpreter.unshared(handle):
                interpreter.swap_in(self._freelist, self._freelist_size, handle)
                self._freelist_size += 1
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
