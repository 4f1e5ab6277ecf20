"""The Channel: the state of one descriptor, and where the reactor keeps it."""

from __future__ import annotations

from typing import Any


class Channel:
    """One descriptor in the epoll set: what events have reported, and which of the reactor's lists it is on.

    The subclass owns the descriptor, or knows who does, and overrides the methods. The reactor calls them in the thread that
    runs the loop. Only that thread changes an attribute, or any one thread while no loop runs. ``remove`` ends a channel;
    it can be added again.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd  # the subclass: -1 once it is closed
        # An event sets these. The subclass clears them after EAGAIN, or after a short read (rule 2).
        self.readable = False
        self.writable = True  # a new socket's buffer is empty
        self.hangup = False  # RDHUP, HUP, ERR or PRI: a short read does not clear ``readable``
        self.urgent = False  # PRI
        # The reactor changes these.
        self.deferred = False  # it is on the deferred list
        self.next_deferred: Channel | None = None  # the next one on it
        self.flush_queued = False  # it is in the flush queue
        self.rearm_queued = False  # it is in the rearm queue
        self.next_rearm: Channel | None = None  # the next one in it
        self.added = False  # it is in the epoll set; or a pipe that epoll refuses: pipe.py sets it
        self.interest = 0  # the mask that it is registered for
        self.registered_in = 0  # the iteration in which it was added (rule 9)
        self.credit = 0  # short callbacks in a row, up to EARNED (rule 5); ``flush`` may set it to 0
        self.kind = 0  # of watching/layout.py, for the figures: the subclass sets it

    def on_ready(self) -> None:
        """Act on ``readable`` and ``writable``. Called once for each event and each ``Reactor.defer``."""

    def handle_events(self, reactor: Any) -> None:
        """``on_ready`` as a callback, for who watches callbacks (core/observer.py)."""
        try:
            self.on_ready()
        except BaseException:
            if self.added:
                reactor.defer(self)  # it may have done one half of its event only
            raise

    def flush(self) -> None:
        """Send what is gathered. Called once for each ``Reactor.schedule_flush``."""

    def push(self) -> None:
        """Send what is gathered, in the middle of a callback, and call no callback of the program."""
        self.flush()

    def after_callbacks(self) -> None:
        """Re-arm (rule 10). Called once for each ``Reactor.schedule_rearm``."""

    def on_closed(self) -> None:
        """The transport that this companion belongs to is closed. Called for the channels in ``Reactor.companions``."""
