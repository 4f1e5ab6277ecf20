"""``EventLoop``: the mixins put together, with running, closing and the exception handler. asyncio doc: Event Loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, TypeVar

from .. import stdlib
from .datagrams import Datagrams
from .sendfiles import SendFiles
from .signals import Signals
from .subprocesses import Subprocesses

T = TypeVar("T")

# The C library gives the end of the heap back to the kernel when that much of it is free, at first 128 KiB, and gets it
# again, page by page, as soon as the next messages come. A block of this size that was freed once makes it wait for twice
# as much, mallopt(3) M_MMAP_THRESHOLD: 64 streams of 16 KiB took a third less CPU time with that.
KEPT_HEAP = 8 * 1024 * 1024

ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


@functools.cache  # once is enough, and later it might not be free
def _keep_heap() -> None:
    bytes(KEPT_HEAP)


class EventLoop(Datagrams, Signals, Subprocesses, SendFiles, asyncio.AbstractEventLoop):  # type: ignore[misc]
    """An asyncio event loop on edge-triggered epoll. One thread runs it; the others use ``call_soon_threadsafe``."""

    __module__ = "edgeloop.loop"  # where programs find it, and logs say that it is

    def __init__(self) -> None:
        super().__init__()
        _keep_heap()
        if sys.version_info < (3, 12):
            # Python 3.11 is the other way round than its successors (tasks.pxd): it finds the methods of an object that
            # has attributes in its __dict__ at once, and gives up on one with an empty __dict__.
            self._in_dict = True  # never read
        self._exception_handler: ExceptionHandler | None = None
        self._asyncgens: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._asyncgens_shut_down = False
        self._clock_resolution = time.get_clock_info("monotonic").resolution  # in seconds; tools look here
        self._selector = self.reactor  # likewise
        self._outer_hooks: tuple[Any, Any] | None = None  # for asynchronous generators, of whoever runs the loop
        self._origin_depth: int | None = None  # of coroutine origin tracking before debug mode set its own
        if threading.current_thread() is threading.main_thread():
            # Now, and not when it runs: a loop that could be made runs also when there is no descriptor left.
            try:
                self._open_signal_pipe()
            except BaseException:
                self.close()
                raise

    def __repr__(self) -> str:
        return f"<{type(self).__name__} running={self.is_running()} closed={self.is_closed()} debug={self.get_debug()}>"

    # Running

    def _check_running(self) -> None:
        if self.is_running():
            raise RuntimeError("This event loop is already running")
        if stdlib.get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")

    def run_forever(self) -> None:
        """Run until ``stop`` is called. RuntimeError if closed, running already, or another loop runs in this thread."""
        self._run_forever_setup()
        try:
            self._run_turns()
        finally:
            self._run_forever_cleanup()

    # The two that a foreign run_forever calls around its own turns of _run_once; asyncio has them from 3.13 on.

    def _run_forever_setup(self) -> None:
        self._check_closed()
        self._check_running()
        try:
            self._outer_hooks = sys.get_asyncgen_hooks()
            self._thread_id = self.reactor.thread = threading.get_ident()
            self._track_origins(self._debug)
            sys.set_asyncgen_hooks(firstiter=self._asyncgen_begins, finalizer=self._asyncgen_is_dropped)
            stdlib.set_running_loop(self)
            self._watch_signals()
        except BaseException:
            self._run_forever_cleanup()
            raise

    def _run_forever_cleanup(self) -> None:
        try:
            self.reactor.flush()  # SystemExit or KeyboardInterrupt has ended the turn
        finally:
            self._end_run()

    def _end_run(self) -> None:
        self._stopping = False
        self._thread_id = None
        self.reactor.thread = 0
        with contextlib.ExitStack() as steps:  # from the last to the first, each one whatever another raises
            steps.callback(self._restore_hooks)
            steps.callback(self._track_origins, False)
            steps.callback(stdlib.set_running_loop, None)
            steps.callback(self._unwatch_signals)

    def _restore_hooks(self) -> None:
        hooks, self._outer_hooks = self._outer_hooks, None
        if hooks is not None:
            sys.set_asyncgen_hooks(*hooks)

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Run until the future is done and return its result or raise its exception; a coroutine becomes a task.

        RuntimeError if the loop is stopped before, or as ``run_forever`` raises it.
        """
        self._check_closed()
        self._check_running()
        is_ours = not asyncio.isfuture(future)
        awaited: Any = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]
        if is_ours:
            awaited._log_destroy_pending = False  # when it is left undone, the exception below says so
        awaited.add_done_callback(_stop_its_loop)
        try:
            self.run_forever()
        except BaseException:
            if is_ours and awaited.done() and not awaited.cancelled():
                awaited.exception()  # it left through run_forever already: not to be reported as never retrieved
            raise
        finally:
            awaited.remove_done_callback(_stop_its_loop)
        if not awaited.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return awaited.result()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the loop: nothing runs on it any more. RuntimeError while it runs; a second close does nothing.

        The default executor is told to stop, not waited for. Transports that are open still are not closed.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        if self._debug:
            stdlib.logger().debug("Close %r", self)
        self.reactor.flush()
        self._close_signals()
        self._closed = True
        self._discard()
        self._executor_shut_down = True
        executor, self._default_executor = self._default_executor, None
        if executor is not None:
            executor.shutdown(wait=False)
        self._close_resolver()
        self._spare_descriptor.give_up()
        self.reactor.close()

    def __del__(self) -> None:
        if getattr(self, "_spare_descriptor", None) is not None and not self.is_closed():
            warnings.warn(f"unclosed event loop {self!r}", ResourceWarning, source=self, stacklevel=2)
            if not self.is_running():
                self.close()

    # Asynchronous generators

    def _asyncgen_begins(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._asyncgens_shut_down:
            warnings.warn(
                f"asynchronous generator {generator!r} was scheduled after loop.shutdown_asyncgens() call",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        self._asyncgens.add(generator)

    def _asyncgen_is_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        # Called by the garbage collector, in whatever thread it runs.
        self._asyncgens.discard(generator)
        if not self.is_closed():
            self.call_soon_threadsafe(self.create_task, generator.aclose())

    async def shutdown_asyncgens(self) -> None:
        """Close the asynchronous generators that were begun and not finished."""
        self._asyncgens_shut_down = True
        generators = list(self._asyncgens)
        self._asyncgens.clear()
        results = await asyncio.gather(*(generator.aclose() for generator in generators), return_exceptions=True)
        for generator, result in zip(generators, results, strict=True):
            if isinstance(result, Exception):
                self.call_exception_handler(
                    {
                        "message": f"an error occurred during closing of asynchronous generator {generator!r}",
                        "exception": result,
                        "asyncgen": generator,
                    }
                )

    # The name in the warning, where a test has closed the loop under its Runner, and this is made and never awaited:
    # pytest-asyncio, which says so itself, keeps quiet about the coroutine of this name alone.
    shutdown_asyncgens.__qualname__ = "BaseEventLoop.shutdown_asyncgens"

    # Exceptions nobody can catch

    def get_exception_handler(self) -> ExceptionHandler | None:
        """The handler that was set, None for the default one."""
        return self._exception_handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        """Have ``handler(loop, context)`` told of exceptions nobody can catch. TypeError if it isn't callable."""
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
        """Tell the exception handler. ``context``: ``message``, and where they apply ``exception``, ``future``, ``task``,
        ``handle``, ``protocol``, ``transport``, ``socket``, ``asyncgen``, ``source_traceback``."""
        handler = self._exception_handler
        if handler is None:
            try:
                self.default_exception_handler(context)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                # A subclass's, that fails: nothing is left to tell but the log.
                stdlib.logger().error("Exception in default exception handler", exc_info=True)
            return
        try:
            owner: Any = context.get("task") or context.get("future") or context.get("handle")
            run_in = owner.get_context() if hasattr(owner, "get_context") else None
            if run_in is not None and hasattr(run_in, "run"):
                run_in.run(handler, self, context)
            else:
                handler(self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            try:
                self.default_exception_handler(
                    {"message": "Unhandled error in exception handler", "exception": exc, "context": context}
                )
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
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
        # A coroutine that was never awaited can tell where it was made.
        if enabled and self._origin_depth is None:
            self._origin_depth = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(10)
        elif not enabled and self._origin_depth is not None:
            sys.set_coroutine_origin_tracking_depth(self._origin_depth)
            self._origin_depth = None


def _stop_its_loop(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and isinstance(future.exception(), (SystemExit, KeyboardInterrupt)):
        return  # it leaves the loop by itself
    future.get_loop().stop()
