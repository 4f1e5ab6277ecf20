"""What a program writes to watch a loop: an Instrument, as trio has it."""

from __future__ import annotations

import asyncio
import functools
from typing import Any


class Instrument:
    """The methods that a loop calls on an instrument: ``loop.add_instrument(x)``, ``loop.remove_instrument(x)``.

    An instrument may be of any class and have any of these methods. What it lacks, or inherits from here, costs nothing. They
    are called in the loop's thread, in no particular context, and the loop waits for them. They may call the loop's methods.
    One that raises is reported to the loop's exception handler, and its instrument is removed. SystemExit and
    KeyboardInterrupt leave the loop.

    Source: trio.abc.Instrument; what is about connections is ours.
    """

    def before_wait(self, timeout: float | None) -> None:
        """The loop asks the kernel for events, and sleeps for up to ``timeout`` seconds. None: without limit."""

    def after_wait(self, events: int) -> None:
        """The kernel has reported so many events. A wake-up by another thread is one too."""

    def before_callback(self, handle: asyncio.Handle) -> None:
        """The loop runs a callback: of ``call_soon``, of a timer, a step of a task, or what an event does to a connection.

        ``describe`` says whose it is. The loop may use the handle again for another callback, unless somebody keeps it.
        """

    def after_callback(self, handle: asyncio.Handle) -> None:
        """The callback has ended; what it raised has been reported."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport of a socket or a pipe begins. Its protocol was told just before.

        With TLS it is the TCP connection, and the handshake follows.
        """

    def connection_lost(self, transport: asyncio.BaseTransport, exc: BaseException | None) -> None:
        """The transport ends, with what its protocol was told just before: an exception, or None.

        Not called for what is open when the loop is closed.
        """

    def accept_failed(self, sock: Any, exc: OSError) -> None:
        """accept(2) has failed on this listening socket, an ``asyncio.TransportSocket``. Called each time; the report to the
        exception handler comes at intervals."""

    @staticmethod
    def describe(handle: asyncio.Handle) -> str:
        """Return in a few words whose callback it is: the task and its coroutine, the protocol of the connection, or else the
        function."""
        callback: Any = getattr(handle, "_callback", None)
        while isinstance(callback, functools.partial):
            callback = callback.func
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            coroutine: Any = owner.get_coro()
            return f"{owner.get_name()} {getattr(coroutine, '__qualname__', type(coroutine).__name__)}()"
        if callback is not None and getattr(callback, "__name__", "") == "handle_events":
            get_protocol = getattr(owner, "get_protocol", None)
            protocol = None if get_protocol is None else get_protocol()
            protocol = getattr(protocol, "get_app_protocol", lambda: protocol)() or protocol  # what is behind TLS
            return type(owner if protocol is None else protocol).__qualname__
        return str(getattr(callback, "__qualname__", None) or repr(handle))


METHODS = tuple(name for name in vars(Instrument) if not name.startswith("_") and name != "describe")
