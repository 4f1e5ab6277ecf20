"""Who watches a loop: its instruments, and a ``Handle._run`` that a program has put in the place of asyncio's.

A loop has an Observer only while there is one of the two. The Scheduler tests for it where it waits and where it runs a
callback, the Reactor where it dispatches an event, and transports where a connection begins and ends.

An instrument may add and remove instruments, itself too, and so may a callback. So what begins (a callback, a wait) is told
to the instruments of that moment, and its end to the same ones, but for those that were removed meanwhile.

For the loop's thread alone.
"""

from __future__ import annotations

from typing import Any

from .channel import Channel
from .failures import INTERRUPTIONS
from .handles import Handle, HandleSource
from .instrument import METHODS, Instrument

# The places of an instrument's methods, as in METHODS.
BEFORE_WAIT, AFTER_WAIT, BEFORE_CALLBACK, AFTER_CALLBACK, CONNECTION_MADE, CONNECTION_LOST, ACCEPT_FAILED = range(7)


class Attached:
    """An instrument that was added. Raise TypeError if it is none."""

    def __init__(self, instrument: Any) -> None:
        self.methods = tuple([_method(instrument, name) for name in METHODS])  # None for each that it lacks
        if not any(self.methods):
            raise TypeError(
                f"an instrument has at least one of the methods {', '.join(METHODS)}: {instrument!r} has none"
            )
        self.instrument = instrument
        self.removed = False  # set once: by ``Observer.remove``, or when a method has raised


def _method(instrument: Any, name: str) -> Any:
    method = getattr(instrument, name, None)
    if getattr(type(instrument), name, None) is getattr(Instrument, name):
        return None  # the empty one
    if method is not None and not callable(method):
        raise TypeError(f"{name} of an instrument must be callable, got {method!r}")
    return method


class Observer:
    """Calls the instruments of one loop. Only its methods and the Scheduler change an attribute."""

    def __init__(self, loop: HandleSource) -> None:
        self._loop: Any = loop
        self.attached: tuple[Attached, ...] = ()  # replaced as a whole
        self.run_is_replaced = False  # asyncio's Handle._run: the Scheduler sets it

    def is_needed(self) -> bool:
        """Return True if there is something for it to do."""
        return self.run_is_replaced or len(self.attached) > 0

    def add(self, added: Attached) -> None:
        """Attach an instrument, unless it is attached."""
        if self._find(added.instrument) is None:
            self.attached = (*self.attached, added)

    def remove(self, instrument: Any) -> None:
        """Detach an instrument. Raise KeyError if it is not attached."""
        entry = self._find(instrument)
        if entry is None:
            raise KeyError(instrument)
        self._detach(entry)

    def clear(self) -> None:
        """Detach all: the loop is closed."""
        for entry in self.attached:
            self._detach(entry)
        self.run_is_replaced = False

    def _find(self, instrument: Any) -> Attached | None:
        for entry in self.attached:
            if entry.instrument is instrument:
                return entry
        return None

    def _detach(self, entry: Attached) -> None:
        entry.removed = True
        self.attached = tuple([other for other in self.attached if other is not entry])

    # What it tells. ``attached``: the instruments that were there when it began.

    def dispatch(self, channel: Channel) -> None:
        """Call a channel's ``on_ready`` as if it were a callback: asyncio's loop has a handle for each event."""
        handle = self._loop._event_handle(channel.handle_events, (self._loop.reactor,))
        attached = self.attached
        try:
            self.before_callback(attached, handle)
        finally:  # after KeyboardInterrupt too: the event does not come again
            try:
                if self.run_is_replaced:
                    handle.run_by_asyncio()
                else:
                    channel.on_ready()
            finally:
                self.after_callback(attached, handle)

    def before_callback(self, attached: tuple[Attached, ...], handle: Handle) -> None:
        """A callback begins."""
        self._tell(attached, BEFORE_CALLBACK, (handle,))

    def after_callback(self, attached: tuple[Attached, ...], handle: Handle) -> None:
        """It has ended."""
        self._tell(attached, AFTER_CALLBACK, (handle,))

    def before_wait(self, attached: tuple[Attached, ...], timeout: float) -> None:
        """The loop waits, for up to so many seconds; negative: without limit."""
        self._tell(attached, BEFORE_WAIT, (None if timeout < 0 else timeout,))

    def after_wait(self, attached: tuple[Attached, ...], events: int) -> None:
        """It has waited, and got so many events."""
        self._tell(attached, AFTER_WAIT, (events,))

    def connection_made(self, transport: Any) -> None:
        """A transport has begun."""
        self._tell(self.attached, CONNECTION_MADE, (transport,))

    def connection_lost(self, transport: Any, exc: BaseException | None) -> None:
        """A transport has ended."""
        self._tell(self.attached, CONNECTION_LOST, (transport, exc))

    def accept_failed(self, sock: Any, exc: OSError) -> None:
        """accept(2) has failed."""
        self._tell(self.attached, ACCEPT_FAILED, (sock, exc))

    def _tell(self, attached: tuple[Attached, ...], which: int, args: tuple[Any, ...]) -> None:
        # If one of them is interrupted, the others are called all the same: an end without its beginning would mislead them.
        interruption: BaseException | None = None
        for entry in attached:
            method = entry.methods[which]
            if method is None or entry.removed:
                continue
            try:
                try:
                    method(*args)
                except INTERRUPTIONS:
                    raise
                except BaseException as exc:
                    self._failed(entry, METHODS[which], exc)
            except INTERRUPTIONS as exc:
                interruption = exc
        if interruption is not None:
            try:
                raise interruption
            finally:
                interruption = None  # as in interpreter.run

    def _failed(self, entry: Attached, name: str, exc: BaseException) -> None:
        if not entry.removed:
            self._detach(entry)
            self._loop._observe(self)
        self._loop.call_exception_handler(
            {
                "message": f"{name}() of an instrument has failed, and the instrument was removed",
                "exception": exc,
                "instrument": entry.instrument,
            }
        )
