"""Signals: Unix signal handlers on the loop, and a loop that wakes up for each. asyncio doc: Unix signals.

A handler set here is Python's own kind: the interpreter calls it between two instructions, it queues the callback. So one
that comes while the loop isn't running is kept for the next run. What the loop adds is the wake-up: the C handler may
run in another thread than the one that sleeps in epoll_wait, and then there is no EINTR. The wake-up says which signal it
was, and so the callback is called too where a server has put its own ``signal.signal`` over ours for as long as it runs.
"""

from __future__ import annotations

import errno
import inspect
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..core.handles import Handle
from ..core.schedule import Scheduler
from ..kernel import interpreter
from .tasks import Tasks
from .watch import Watch

PIPE_SIZE = 65536  # pipe(7): what a pipe takes unless it is told otherwise


class SignalHandlers:
    """The signal handlers of one loop, and the pipe that wakes it while it runs in the main thread.

    Owns both ends of the pipe; ``close`` gives them back and removes the handlers. For the main thread alone. Keeps no
    reference to the loop but in its handles, so that a closed loop is in no cycle.
    """

    def __init__(self) -> None:
        self.handles: dict[int, Handle] = {}
        self._pipe: tuple[int, int] | None = None
        self._pipe_watch: Watch | None = None
        self._pipe_pid = 0  # the process that opened the pipe
        self._has_wakeup_fd = False  # signal.set_wakeup_fd is ours at this moment
        # How often our Python handler has queued a signal whose byte in the pipe is not read yet.
        self._calls: Counter[int] = Counter()
        self._queued: set[int] = set()  # the signals that it has queued and whose callback is still to run

    def add(self, sig: int, handle: Handle) -> None:
        """Queue the handle on its loop when the signal comes. RuntimeError for a signal that can't be caught."""
        previous = self.handles.get(sig)
        self.handles[sig] = handle
        try:
            signal.signal(sig, self._on_signal)
            signal.siginterrupt(sig, False)  # system calls of other threads go on after it
        except (ValueError, OSError) as exc:
            if previous is None:
                del self.handles[sig]
            else:
                self.handles[sig] = previous
            if isinstance(exc, OSError) and exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from None
            if isinstance(exc, OSError):
                raise
            raise RuntimeError(str(exc)) from None

    def remove(self, sig: int) -> bool:
        """Undo ``add``. Return False if there is no handler for the signal."""
        if self.handles.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            signal.signal(sig, default)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from None
            raise
        return True

    def _on_signal(self, sig: int, frame: FrameType | None = None) -> None:
        """Queue the handle of the signal. Called between two instructions of the main thread, also of this method."""
        handle = self.handles.get(sig)
        if handle is None or handle._cancelled or not self._has_wakeup_fd:
            self.deliver(sig)
        elif sig not in self._queued:  # else the bytes tell how often it came: in a flood this method must be short
            self._queued.add(sig)
            self._calls[sig] += 1
            loop: Any = handle._loop
            loop._queue_from_signal(Handle(self._queued.discard, (sig,), loop))
            loop._queue_from_signal(handle)

    def deliver(self, sig: int, loop: Any = None) -> None:
        """Queue the signal's handle on its loop, or remove it if it is cancelled."""
        handle = self.handles.get(sig)
        if handle is None:
            return
        if loop is None:
            loop = handle._loop
        if handle._cancelled:
            loop.remove_signal_handler(sig)
        elif not loop._closed:
            loop._queue_from_signal(handle)

    # The wake-up: signal.set_wakeup_fd for as long as the loop runs in the main thread.

    def open_pipe(self, loop: Scheduler) -> None:
        """Open the pipe and register it. Raise OSError if there is no descriptor for it."""
        # Not the loop's eventfd: the C handler writes one byte, and an eventfd takes only eight.
        pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            watch = Watch(loop, pipe[0])
            watch.fileobj = pipe[0]
            watch.set_reader(self._drain_pipe, ())
        except BaseException:
            for fd in pipe:
                os.close(fd)
            raise
        self._pipe = pipe
        self._pipe_watch = watch
        self._pipe_pid = os.getpid()

    def _close_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        watch, self._pipe_watch = self._pipe_watch, None
        self._pipe_pid = 0
        try:
            if watch is not None:
                watch.clear_reader()
        finally:
            if pipe is not None:
                os.close(pipe[0])
                os.close(pipe[1])

    def begin_wakeups(self, loop: Scheduler) -> None:
        """The loop runs from now on: have each signal wake it, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        if self._pipe_pid != os.getpid():
            self._close_pipe()  # after a fork: what is written there the parent would read
            self.open_pipe(loop)
        assert self._pipe is not None
        self._queued.clear()  # an exception of another signal's handler may have ended the last run in the middle of ours
        self._has_wakeup_fd = True  # before it is so, and no longer after: a signal's byte is always expected
        try:
            previous = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        except ValueError:
            self._has_wakeup_fd = False
            return  # the main thread of a subinterpreter: signals are not its business
        if previous != -1:
            signal.set_wakeup_fd(previous)  # somebody else has it, a guest or a host of ours: theirs to keep
            self._has_wakeup_fd = False

    def end_wakeups(self) -> None:
        """The loop no longer runs: give signal.set_wakeup_fd back."""
        if not self._has_wakeup_fd:
            return
        current = signal.set_wakeup_fd(-1)
        self._has_wakeup_fd = False
        if self._pipe is None or current != self._pipe[1]:
            signal.set_wakeup_fd(current)  # set by somebody while we ran

    def _drain_pipe(self) -> None:
        if self._pipe is None:
            return
        try:
            came = os.read(self._pipe[0], PIPE_SIZE)
        except BlockingIOError:
            return
        # The C handler, in whatever thread, first asks for the Python handler and then writes the byte: the one may have
        # run already, or not yet.
        interpreter.check_signals()
        calls = self._calls
        for sig in came:
            if calls[sig] > 0:
                calls[sig] -= 1
            else:
                self.deliver(sig)  # as often as it came, as on asyncio
        if len(came) == PIPE_SIZE:
            calls.clear()  # it was full: bytes are missing

    def close(self, loop: Signals) -> None:
        """Remove the handlers, by the loop's method, and close the pipe."""
        try:
            for sig in list(self.handles):
                loop.remove_signal_handler(sig)
        finally:
            self._close_pipe()


class Signals(Tasks):
    """Unix signals, as a mixin of EventLoop."""

    def __init__(self) -> None:
        super().__init__()
        self._signals = SignalHandlers()

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback(*args)`` on the loop when the signal comes. Only from the main thread.

        Raises TypeError for a coroutine function or a ``sig`` that is no int, ValueError for an unknown signal,
        RuntimeError for one that can't be caught or in another thread.
        """
        if inspect.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("set_wakeup_fd only works in main thread of the main interpreter")
        self._signals.add(sig, Handle(callback, args, self))

    def remove_signal_handler(self, sig: int) -> bool:
        """Undo ``add_signal_handler``. Return False if there is no handler for the signal. Raises as that does."""
        self._check_signal(sig)
        return self._signals.remove(sig)

    # asyncio's own names, which programs and its tests use

    def _check_signal(self, sig: object) -> None:
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")

    @property
    def _signal_handlers(self) -> dict[int, Handle]:
        return self._signals.handles

    def _handle_signal(self, sig: int) -> None:
        self._signals.deliver(sig, self)
