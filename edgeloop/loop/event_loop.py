"""``EventLoop``: the mixins together, with running, closing and the exception handler. asyncio doc: Event Loop."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from .. import stdlib
from ..core.failures import INTERRUPTIONS, raise_interruption
from .asyncgens import AsyncGenerators
from .connections import Connections
from .datagrams import Datagrams
from .sendfiles import SendFiles
from .servers import Servers
from .signals import Signals
from .subprocesses import Subprocesses

T = TypeVar("T")

# The C library gives the free end of the heap back to the kernel from 128 KiB on, and the next messages fault it in again,
# page by page. Once a block of this size was freed it keeps up to twice as much: mallopt(3), M_MMAP_THRESHOLD.
KEPT_HEAP = 8 * 1024 * 1024

ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


@functools.cache  # the C library remembers it; the second time could cost time
def _keep_heap() -> None:
    bytes(KEPT_HEAP)


class EventLoop(  # type: ignore[misc]
    Connections, Servers, Datagrams, SendFiles, Subprocesses, Signals, asyncio.AbstractEventLoop
):
    """An asyncio event loop on edge-triggered epoll.

    One thread runs it and calls its methods; other threads may call ``call_soon_threadsafe``, and signal handlers too.
    It owns its epoll set, wake-up eventfd, signal pipe and spare descriptor, its default executor and the resolver's
    threads, and ``close`` gives them back. Open transports and the program's own descriptors stay open.
    """

    __module__ = "edgeloop.loop"  # where programs find it, and logs say that it is

    def __init__(self) -> None:
        super().__init__()
        _keep_heap()
        if sys.version_info < (3, 12):
            # Unlike its successors (tasks.pxd) Python 3.11 caches method lookups only on an object that has something in
            # its __dict__.
            self._in_dict = True  # never read
        try:
            self._exception_handler: ExceptionHandler | None = None
            self._asyncgens = AsyncGenerators()
            self._clock_resolution = time.get_clock_info("monotonic").resolution  # in seconds; tools look here
            self._selector = self.reactor  # likewise
            self._origin_depth: int | None = None  # of coroutine origin tracking before debug mode set its own
            if threading.current_thread() is threading.main_thread():
                # Now, and not when it runs: a loop that exists can run when no descriptor is left.
                self._signals.open_pipe(self)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        kind = type(self)
        name = "edgeloop.EventLoop" if kind is EventLoop else kind.__name__
        return f"<{name} running={self.is_running()} closed={self.is_closed()} debug={self.get_debug()}>"

    # Running

    def _check_running(self) -> None:
        if self.is_running():
            raise RuntimeError("This event loop is already running")
        if stdlib.get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")

    def run_forever(self) -> None:
        """Run until ``stop`` is called. RuntimeError if it is closed or running, or another loop runs in this thread."""
        self._run_forever_setup()
        try:
            self._run_turns()
        finally:
            self._run_forever_cleanup()

    # For a run_forever of others that calls _run_once itself; asyncio has these two from 3.13 on.

    def _run_forever_setup(self) -> None:
        self._check_closed()
        self._check_running()
        try:
            self._thread_id = self.reactor.thread = threading.get_ident()
            self.reactor.pulse.begin_run()
            self.reactor.figures.run_begins(threading.get_native_id())
            self._track_origins(self._debug)
            self._asyncgens.set_hooks(self)
            stdlib.set_running_loop(self)
            self._signals.begin_wakeups(self)
        except BaseException:
            self._run_forever_cleanup()
            raise

    def _run_forever_cleanup(self) -> None:
        try:
            self.reactor.flush()  # SystemExit or KeyboardInterrupt may have ended the turn
        finally:
            self._end_run()

    def _end_run(self) -> None:
        self._stopping = False
        self._thread_id = None
        self.reactor.thread = 0
        # All steps are made, whatever one raises. An ExitStack would need memory, and a run may end for want of it.
        try:
            self._signals.end_wakeups()
        finally:
            try:
                stdlib.set_running_loop(None)
            finally:
                try:
                    self._track_origins(False)
                finally:
                    try:
                        self._asyncgens.restore_hooks()
                    finally:
                        try:
                            self.reactor.pulse.end_run()
                        finally:
                            self.reactor.figures.run_ends()

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Run until the future is done and return its result or raise its exception; a coroutine becomes a task.

        RuntimeError if the loop is stopped before, or as ``run_forever`` raises it.
        """
        self._check_closed()
        self._check_running()
        is_ours = not asyncio.isfuture(future)
        awaited: Any = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]
        if is_ours:
            awaited._log_destroy_pending = False  # the exception below says that it is left undone
        awaited.add_done_callback(_stop_its_loop)
        try:
            self.run_forever()
        except BaseException:
            if is_ours and awaited.done() and not awaited.cancelled():
                awaited.exception()  # run_forever has raised it: it counts as retrieved
            raise
        finally:
            awaited.remove_done_callback(_stop_its_loop)
        if not awaited.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return awaited.result()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the loop: nothing runs on it any more. RuntimeError while it runs; a second close does nothing.

        The default executor is shut down without waiting for it. Open transports stay open.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        if self._debug:
            stdlib.logger().debug("Close %r", self)
        self.reactor.flush()
        try:
            self._signals.close(self)  # ValueError in another thread than the main one, as on asyncio
        finally:
            self._close_the_rest()

    def _close_the_rest(self) -> None:
        self._closed = True
        self._discard()
        self._executor_shut_down = True
        executor, self._default_executor = self._default_executor, None
        if executor is not None:
            executor.shutdown(wait=False)
        self._resolver.close()
        self._spare_descriptor.give_up()
        if self._wheel is not None:
            self._wheel.close()
        self.reactor.close()

    def __del__(self) -> None:
        if getattr(self, "_spare_descriptor", None) is not None and not self.is_closed():
            warnings.warn(f"unclosed event loop {self!r}", ResourceWarning, source=self, stacklevel=2)
            if not self.is_running():
                self.close()

    # Asynchronous generators

    async def shutdown_asyncgens(self) -> None:
        """Close the asynchronous generators that were begun and not finished."""
        await self._asyncgens.shut_down(self)

    # Where a test closes the loop of its Runner, the coroutine is never awaited. pytest-asyncio reports that itself, and
    # ignores the interpreter's warning for a coroutine of this name alone.
    shutdown_asyncgens.__qualname__ = "BaseEventLoop.shutdown_asyncgens"

    # Exceptions nobody can catch

    def get_exception_handler(self) -> ExceptionHandler | None:
        """Return the handler that was set; None means the default one."""
        return self._exception_handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        """Call ``handler(loop, context)`` for exceptions nobody can catch. Raise TypeError if it isn't callable."""
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log the context on the logger ``asyncio``, as an error."""
        message = context.get("message") or "Unhandled exception in event loop"
        exception = context.get("exception")
        info = (type(exception), exception, exception.__traceback__) if exception is not None else False
        lines = [message]
        for key in sorted(context):
            if key in ("message", "exception"):
                continue
            value = context[key]
            if key == "source_traceback":
                text = "Object created at (most recent call last):\n" + "".join(traceback.format_list(value)).rstrip()
            elif key == "handle_traceback":
                text = "Handle created at (most recent call last):\n" + "".join(traceback.format_list(value)).rstrip()
            else:
                text = repr(value)
            lines.append(f"{key}: {text}")
        stdlib.logger().error("\n".join(lines), exc_info=info)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Call the exception handler. ``context``: ``message``, and where they apply ``exception``, ``future``, ``task``,
        ``handle``, ``protocol``, ``transport``, ``socket``, ``asyncgen``, ``source_traceback``."""
        handler = self._exception_handler
        if handler is None:
            try:
                self.default_exception_handler(context)
            except BaseException as exc:
                raise_interruption(exc)
                # A subclass's that fails: only the log is left.
                stdlib.logger().error("Exception in default exception handler", exc_info=True)
            return
        try:
            owner: Any = context.get("task") or context.get("future") or context.get("handle")
            run_in = owner.get_context() if hasattr(owner, "get_context") else None
            if run_in is not None and hasattr(run_in, "run"):
                run_in.run(handler, self, context)
            else:
                handler(self, context)
        except BaseException as exc:
            raise_interruption(exc)
            try:
                self.default_exception_handler(
                    {"message": "Unhandled error in exception handler", "exception": exc, "context": context}
                )
            except BaseException as error:
                raise_interruption(error)
                stdlib.logger().error(
                    "Exception in default exception handler while handling an unexpected error "
                    "in custom exception handler",
                    exc_info=True,
                )

    # Debug mode

    def set_debug(self, enabled: bool) -> None:
        """Switch debug mode. asyncio doc: Debug mode."""
        self._debug = enabled
        if self.is_running():
            self.call_soon_threadsafe(self._track_origins, enabled)

    def _track_origins(self, enabled: bool) -> None:
        # The warning of a coroutine that was never awaited says where it was made.
        if enabled and self._origin_depth is None:
            self._origin_depth = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(10)
        elif not enabled and self._origin_depth is not None:
            sys.set_coroutine_origin_tracking_depth(self._origin_depth)
            self._origin_depth = None


def _stop_its_loop(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and isinstance(future.exception(), INTERRUPTIONS):
        return  # the task has raised it out of the loop
    future.get_loop().stop()
