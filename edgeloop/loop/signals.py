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
from ..kernel import interpreter
from .servers import Servers

PIPE_SIZE = 65536  # pipe(7): what a pipe takes unless it is told otherwise


class Signals(Servers):
    """Unix signals, as a mixin of EventLoop."""

    def __init__(self) -> None:
        super().__init__()
        self._signal_handlers: dict[int, Handle] = {}
        self._signal_pipe: tuple[int, int] | None = None
        self._signal_pipe_pid = 0  # of the process that opened it
        self._has_wakeup_fd = False  # signal.set_wakeup_fd is ours at this moment
        # By our Python handler, and how often; the byte that says so too is yet to be read, or even to be written.
        self._signals_handled: Counter[int] = Counter()

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
        previous = self._signal_handlers.get(sig)
        self._signal_handlers[sig] = Handle(callback, args, self)
        try:
            signal.signal(sig, self._handle_signal)
            signal.siginterrupt(sig, False)  # system calls of other threads go on after it
        except (ValueError, OSError) as exc:
            if previous is None:
                del self._signal_handlers[sig]
            else:
                self._signal_handlers[sig] = previous
            if isinstance(exc, OSError) and exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from None
            if isinstance(exc, OSError):
                raise
            raise RuntimeError(str(exc)) from None

    def remove_signal_handler(self, sig: int) -> bool:
        """Undo ``add_signal_handler``; whether there was anything to undo. Raises as that does."""
        self._check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            signal.signal(sig, default)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from None
            raise
        return True

    def _check_signal(self, sig: object) -> None:
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")

    def _handle_signal(self, sig: int, frame: FrameType | None = None) -> None:
        if self._has_wakeup_fd:
            self._signals_handled[sig] += 1
        self._deliver_signal(sig)

    def _deliver_signal(self, sig: int) -> None:
        handle = self._signal_handlers.get(sig)
        if handle is None:
            return
        if handle._cancelled:
            self.remove_signal_handler(sig)
        elif not self._closed:
            self._queue_from_signal(handle)

    # The wake-up: signal.set_wakeup_fd for as long as the loop runs in the main thread.

    def _open_signal_pipe(self) -> None:
        # Not the loop's eventfd: the C handler writes one byte, and an eventfd takes only eight.
        pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            watch = self._watch(pipe[0])
            watch.fileobj = pipe[0]
            watch.set_reader(self._drain_signal_pipe, ())
        except BaseException:
            for fd in pipe:
                os.close(fd)
            raise
        self._signal_pipe = pipe
        self._signal_pipe_pid = os.getpid()

    def _close_signal_pipe(self) -> None:
        pipe, self._signal_pipe = self._signal_pipe, None
        self._signal_pipe_pid = 0
        if pipe is not None:
            self.remove_reader(pipe[0])
            for fd in pipe:
                os.close(fd)

    def _watch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if self._signal_pipe_pid != os.getpid():
            self._close_signal_pipe()  # after a fork: what is written there the parent would read
            self._open_signal_pipe()
        assert self._signal_pipe is not None
        self._has_wakeup_fd = True  # before it is so, and no longer after: a signal's byte is always expected
        try:
            previous = signal.set_wakeup_fd(self._signal_pipe[1], warn_on_full_buffer=False)
        except ValueError:
            self._has_wakeup_fd = False
            return  # the main thread of a subinterpreter: signals are not its business
        if previous != -1:
            signal.set_wakeup_fd(previous)  # somebody else has it, a guest or a host of ours: theirs to keep
            self._has_wakeup_fd = False

    def _unwatch_signals(self) -> None:
        if not self._has_wakeup_fd:
            return
        current = signal.set_wakeup_fd(-1)
        self._has_wakeup_fd = False
        if self._signal_pipe is None or current != self._signal_pipe[1]:
            signal.set_wakeup_fd(current)  # set by somebody while we ran

    def _drain_signal_pipe(self) -> None:
        if self._signal_pipe is None:
            return
        try:
            came = os.read(self._signal_pipe[0], PIPE_SIZE)
        except BlockingIOError:
            return
        # The C handler, in whatever thread, first asks for the Python handler and then writes the byte: the one may have
        # run already, or not yet.
        interpreter.check_signals()
        handled = self._signals_handled
        unhandled = set()
        for sig in came:
            if handled[sig] > 0:
                handled[sig] -= 1
            else:
                unhandled.add(sig)
        if len(came) == PIPE_SIZE:
            handled.clear()  # it was full: bytes are missing
        for sig in sorted(unhandled):
            self._deliver_signal(sig)

    def _close_signals(self) -> None:
        for sig in list(self._signal_handlers):
            self.remove_signal_handler(sig)
        self._close_signal_pipe()
