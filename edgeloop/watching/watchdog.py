"""The watchdog of a loop: a thread that reports a turn which lasts too long, while it lasts. docs/watchdog.md.

The loop publishes since when it is busy (kernel/pulse.py). The thread sleeps until that turn would have lasted the threshold,
ten times a second with the default, and takes the GIL then. Nothing of it runs in the loop's thread, but for the hook of
gc.callbacks.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import logging
import math
import os
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..kernel import pulse as kernel
from . import report as reports
from .limiter import Limiter
from .report import Report
from .shared_file import share

LOGGER = logging.getLogger("edgeloop.watch")
SECONDS_TO_END = 1.0  # at the end of the process, for a receiver of reports that is being called
AGAIN = 10  # the second report comes after so many times the threshold

# PyPy has none: a collection is Python code to the watchdog there.
_on_collections: list[Callable[[str, dict[str, Any]], object]] = getattr(gc, "callbacks", [])
_lock = threading.RLock()  # for the next two; a destructor may come here while this thread holds it
# Those that were not stopped. It is replaced, never changed: _on_collection takes no lock.
_watchdogs: tuple[Watchdog, ...] = ()
_threads: tuple[threading.Thread, ...] = ()  # of watchdogs, not ended


class Watchdog:
    """What ``watch`` returns: ``stop`` ends it, and so does leaving a ``with`` block of it, or closing the loop.

    It holds no reference to the loop. Its thread is a daemon: it does not keep the process alive.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pulse: kernel.Pulse,
        threshold: float,
        report: Callable[[Report], object] | None,
    ) -> None:
        self.threshold = threshold
        """In seconds."""
        self._loop = weakref.ref(loop)
        self._report = report
        self._pulse = pulse
        self._limiter = Limiter()
        self._stopped = False
        self._has_failed = False
        self._ticket: kernel.Watch | None = None

    def stop(self) -> None:
        """End the watch. A report that is being delivered is not waited for; none follows it.

        May be called from any thread, by the receiver of the reports too, and again.
        """
        if self._stopped:
            return
        self._stopped = True
        if self._pulse.watchdog is self:
            self._pulse.watchdog = None
            self._pulse.close()
        _forget(self)

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        pulse = self._pulse
        thread = threading.Thread(target=self._run, name="edgeloop-watchdog", daemon=True)
        _thread_begins(thread)
        try:
            before, pulse.watchdog = pulse.watchdog, self
            if before is not None:
                before._stopped = True
                _forget(before)
            self._ticket = pulse.start(self.threshold)
            _remember(self)
            thread.start()
        except BaseException:
            self.stop()
            _thread_ended(thread)
            raise

    def _run(self) -> None:
        try:
            self._watch()
        except BaseException:  # nobody would see it
            _log_failure("the watchdog of an event loop has ended")
        finally:
            self.stop()
            if self._ticket is not None:
                self._ticket.end()
            _thread_ended(threading.current_thread())

    def _watch(self) -> None:
        pulse = self._pulse
        ticket = self._ticket
        assert ticket is not None
        known = 0.0  # the turn that was reported and has not ended
        limit = math.inf
        stopped = 0.0  # how long the process was stopped in that turn
        stolen = 0.0
        latest: Report | None = None
        while True:
            found = pulse.next_report(ticket, known, limit, self._limiter.next_summary())
            if found == kernel.CLOSED or self._stopped:
                return
            if found == kernel.LATE:
                phase = reports.CONTINUES if known else reports.BEGUN
                if not known:
                    known, stopped = pulse.late_since, 0.0
                limit = AGAIN * self.threshold if phase == reports.BEGUN else math.inf
                report = reports.look(self._loop(), pulse, phase)
                if report.kind == reports.NOT_SCHEDULED and not stolen:
                    stolen = reports.steal()
                if latest is None or report.place:  # else the turn was over before this thread got the GIL
                    latest = report
                self._deliver(reports.without(report, stopped))
            elif found == kernel.ENDED:
                if latest is not None:
                    self._deliver(reports.ended(latest, pulse, known, stopped, stolen))
                known, limit, stolen, latest = 0.0, math.inf, 0.0, None
            elif found == kernel.STOPPED:
                stopped += pulse.stopped
                self._deliver(reports.of_stop(pulse))
            else:
                for place, count in self._limiter.summaries(pulse.now()):
                    self._hand_over(reports.of_suppressed(place, count))

    def _deliver(self, report: Report) -> None:
        may, suppressed = self._limiter.ask(reports.key_of(report), self._pulse.now())
        if may:
            self._hand_over(reports.with_suppressed(report, suppressed))

    def _hand_over(self, report: Report) -> None:
        if self._stopped:
            return
        try:
            if self._report is None:
                LOGGER.warning("%s", report, extra=report.fields())
            else:
                assert self._ticket is not None
                self._ticket.lend_thread()
                self._report(report)
        except BaseException:
            if not self._has_failed:
                self._has_failed = True
                _log_failure("the receiver of a watchdog's reports has failed; this is logged once")


def watch(
    loop: asyncio.AbstractEventLoop, threshold: float = 0.1, *, report: Callable[[Report], object] | None = None
) -> Watchdog:
    """Report each turn and callback of ``loop`` that lasts longer than the threshold, while it lasts.

    ``threshold`` is in seconds. The first report comes when a turn has lasted that long, a second one at ten times of it,
    and one at its end with the total. Each is a record of the logger ``edgeloop.watch``, at level WARNING, whose attributes
    are those of ``Report``; or it is passed to ``report``, which is called in the watching thread. At most five a minute come
    about one place. The watch ends with the loop. A loop that is watched already gets the new threshold and receiver,
    and the former Watchdog has ended. The loop's figures are kept in a file from now on, as by ``edgeloop.share``, until it
    is closed; where no file can be made they are not.

    May be called from any thread, also while the loop is blocked. Raise TypeError if the loop isn't edgeloop's, the threshold
    isn't a number or ``report`` can't be called; ValueError if the threshold isn't above 0; RuntimeError if the loop is closed
    or no thread can be started.
    """
    pulse: object = getattr(getattr(loop, "reactor", None), "pulse", None)
    if not isinstance(pulse, kernel.Pulse):
        raise TypeError(f"only a loop of edgeloop can be watched, not {loop!r}")
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise TypeError(f"threshold must be a number of seconds, not {threshold!r}")
    if not 0 < threshold < math.inf:
        raise ValueError(f"threshold must be a number of seconds above 0, not {threshold!r}")
    if report is not None and not callable(report):
        raise TypeError(f"report must be a callable or None, not {report!r}")
    if loop.is_closed():
        raise RuntimeError("Event loop is closed")
    watchdog = Watchdog(loop, pulse, float(threshold), report)
    watchdog._start()
    try:
        share(loop)
    except (OSError, RuntimeError) as exc:  # no folder for it; another thread has closed the loop
        LOGGER.debug("the figures of %r are not kept in a file: %s", loop, exc)
    return watchdog


def watch_by_default(loop: asyncio.AbstractEventLoop, threshold: float) -> None:
    """Watch a new loop, because the environment says so. Where no thread can be started, the loop runs unwatched."""
    try:
        watch(loop, threshold)
    except RuntimeError as exc:  # a subinterpreter without daemon threads; a process that ends
        LOGGER.warning("the event loop is not watched: %s", exc)


def _log_failure(text: str) -> None:
    # The exception that is being handled.
    with contextlib.suppress(BaseException):  # the logger may be what fails
        LOGGER.exception(text)


def _remember(watchdog: Watchdog) -> None:
    global _watchdogs
    with _lock:
        _watchdogs = (*_watchdogs, watchdog)
        if _on_collection not in _on_collections:
            _on_collections.append(_on_collection)


def _forget(watchdog: Watchdog) -> None:
    global _watchdogs
    with _lock:
        _watchdogs = tuple(other for other in _watchdogs if other is not watchdog)
        if not _watchdogs and _on_collection in _on_collections:
            _on_collections.remove(_on_collection)


def _thread_begins(thread: threading.Thread) -> None:
    global _threads
    with _lock:
        _threads = (*_threads, thread)
        kernel.open_dump()


def _thread_ended(thread: threading.Thread) -> None:
    global _threads
    with _lock:
        _threads = tuple(other for other in _threads if other is not thread)
        if not _threads:
            kernel.close_dump()


def _on_collection(phase: str, info: dict[str, Any]) -> None:
    thread = threading.get_ident()
    for watchdog in _watchdogs:
        if watchdog._pulse.thread == thread:
            if phase == "start":
                watchdog._pulse.collection_began()
            else:
                watchdog._pulse.collection_ended()


def _stop_all() -> None:
    for watchdog in _watchdogs:
        watchdog.stop()
    for thread in _threads:
        thread.join(SECONDS_TO_END)  # a subinterpreter must not end before its threads


def _after_fork_in_child() -> None:
    # Reactor.after_fork has ended the watches: their threads are the parent's.
    global _lock, _watchdogs, _threads
    _lock = threading.RLock()  # a thread of the parent may hold the other one
    for watchdog in _watchdogs:
        watchdog._stopped = True
    _watchdogs = ()
    _threads = ()
    if _on_collection in _on_collections:
        _on_collections.remove(_on_collection)
    kernel.close_dump()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
