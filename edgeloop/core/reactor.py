"""The epoll set and its share of a turn.

epoll(7) with EPOLLET reports a change once. A Channel keeps it (``readable``, ``writable``) until a system call has returned
EAGAIN. A Channel that stops before that is put on the deferred list. "Rule 2" is a rule of docs/edges.md.

- A channel's owner registers it with ``add``, takes it out with ``remove``, and closes the descriptor after that (rule 1).
- ``add`` and ``rearm`` raise OSError if epoll refuses the descriptor. In the child of a fork they and ``wait`` raise
  RuntimeError if the loop was running at the fork (rule 11).
- ``wait`` sleeps. ``dispatch`` calls ``on_ready``; what a channel raises, it raises, and continues with the next channel
  when it is called again.
- ``wake`` may be called from any thread and from a signal handler (the wake-up protocol: scheduling.py). Everything else is
  called by the thread that runs the loop, or by any one thread while none does.
"""

from __future__ import annotations

from typing import Any

from ..kernel import calls, ticks
from ..kernel.epoll import Poller
from ..kernel.pulse import UNTIMED, Pulse
from ..watching.figures import Figures
from . import fork
from .channel import Channel
from .gathering import Gathering

# The longest sleep while a sock_* call waits on a registration that an earlier call has left (rule 10).
MAX_UNVERIFIED_SECONDS = 0.05


class Reactor(Gathering):
    """An epoll set and its channels. A turn is one ``wait`` and one ``dispatch``.

    It owns the descriptors of its Poller, and the duplicates of its companions. Every other descriptor is its channel's
    owner's. ``close`` ends it. Where no line says otherwise, only methods of the Reactor change an attribute, in the thread
    that runs the loop.
    """

    def __init__(self) -> None:
        Gathering.__init__(self)
        self.poller = Poller()
        self.pulse = Pulse()  # never replaced
        self.figures = Figures()  # never replaced; other threads read it
        self.counts = self.figures.counts  # by use_figures: what this and others that know the reactor count
        self.channels: list[Channel | None] = [None] * 64  # by descriptor; empty once the reactor is closed
        self.woken = False  # the eventfd was written to since the last wait: any thread sets it, ``wait`` clears it
        self.forked = False  # the set is the parent process's: set at the fork, cleared by _take_over
        self.usable = True  # cleared, for good, at a fork while the loop ran
        self.forks = 0  # forks between this process and the one that made it; counted at the fork
        self.iteration = 1  # counts the waits (rule 9)
        self.num_events = 0  # events of the last wait
        self.next_event = 0  # the index of the first that is not dispatched yet
        self.interrupted = False  # a channel has raised in ``dispatch``; the Scheduler clears it when it goes on
        self.resumed = (
            False  # the Scheduler: this turn went on with an interrupted one, and has dispatched the deferred
        )
        self.needs_poll = True  # something since the last wait may have caused an event: request_poll, any thread
        self.skipped = False  # the last turn made no wait
        self.unverified = False  # a registration that a call waits on may be gone (rule 10): watch.py sets it
        self.idle = False  # the last wait has slept and returned no event
        self.companions: dict[int, Channel] = {}  # by a closing transport's number (rule 9): sockcalls.py, watch.py
        # The deferred list and the rearm queue are linked through their channels: to put one there, or back, needs no memory.
        self.first_deferred: Channel | None = None  # to be dispatched in the next turn (rule 3)
        self.last_deferred: Channel | None = None
        self.first_rearm: Channel | None = None  # to be re-armed at the end of the turn (rule 10)
        self.last_rearm: Channel | None = None
        self.observer: Any = None  # who is told of events and connections, if anybody: the Scheduler sets it
        fork.reactors.add(self)

    def close(self) -> None:
        """Close the set and the companions. Open channels remain their owners' to close."""
        if self.pulse.watched:
            self.pulse.close()
        self.poller.close()
        self.figures.close()
        self.use_figures()
        companions = list(self.companions.values())
        self.companions = {}
        dropped = self.channels, self.flush_queue, self.unflushed
        self.channels = []
        self.flush_queue = []
        self.unflushed = None
        for channel in companions:
            fd = channel.fd
            channel.fd = -1
            calls.close(fd)
        # Last: destructors may call this object. A list is taken apart one by one, or the end of the first would be that of
        # the second, and so on, each within the other.
        del dropped
        self.last_deferred = self.last_rearm = None
        while self.first_deferred is not None:
            deferred = self.first_deferred
            self.first_deferred = deferred.next_deferred
            deferred.next_deferred = None
        while self.first_rearm is not None:
            queued = self.first_rearm
            self.first_rearm = queued.next_rearm
            queued.next_rearm = None

    def use_figures(self) -> None:
        """Count where the figures are kept now: after Figures.share and make_private, in any thread."""
        self.counts = self.figures.counts

    def fileno(self) -> int:
        """Return the descriptor of the epoll set; /proc/PID/fdinfo lists what is registered."""
        return self.poller.fileno()

    def add(self, channel: Channel, interest: int) -> None:
        """Register a channel, once (rule 1). Raise OSError if epoll refuses the descriptor."""
        fd = channel.fd
        if self.forked:
            self._take_over()
        self.needs_poll = True
        if fd >= len(self.channels):
            self.channels.extend([None] * (fd + 64 - len(self.channels)))
        self.counts.epoll_ctl += 1
        self.poller.add(fd, interest | calls.EPOLL_EDGE)
        if not channel.added:
            self.counts.channels[channel.kind] += 1
        channel.added = True
        channel.interest = interest
        channel.registered_in = self.iteration  # events of this iteration are its predecessor's (rule 9)
        predecessor = self.channels[fd]
        self.channels[fd] = channel
        del predecessor  # last: its destructor may run any code

    def rearm(self, channel: Channel, interest: int) -> None:
        """Have the kernel report again what is ready of ``interest``, now. So no edge is lost before this call (rule 4)."""
        if self.forked:
            self._take_over()
        if self.find(channel.fd) is not channel:
            return  # its owner has closed it, and the number is another channel's by now (rule 9)
        self.needs_poll = True
        self.counts.epoll_ctl += 1
        self.poller.modify(channel.fd, interest | calls.EPOLL_EDGE)
        channel.interest = interest

    def rearm_if_open(self, channel: Channel, interest: int) -> None:
        """``rearm`` a channel whose owner may have closed the descriptor. Then do nothing."""
        if self.forked:
            self._take_over()
        if self.find(channel.fd) is not channel:
            return
        self.needs_poll = True
        self.counts.epoll_ctl += 1
        self.poller.refresh(channel.fd, interest | calls.EPOLL_EDGE)
        channel.interest = interest

    def remove(self, channel: Channel) -> None:
        """Take a channel out, before its descriptor is closed (rule 1). Do nothing if it is not in the set."""
        if not channel.added:
            return
        channel.added = False
        self.counts.channels[channel.kind] -= 1
        self.needs_poll = True
        fd = channel.fd
        if fd < len(self.channels) and self.channels[fd] is channel:
            if not self.forked:  # a DEL here would take it from the parent process (rule 11)
                self.counts.epoll_ctl += 1
                self.poller.remove(fd)
            # After the DEL, and with this check: a destructor may have registered another channel meanwhile.
            if not channel.added and self.channels[fd] is channel:
                self.channels[fd] = None
        if self.companions:
            companion = self.companions.pop(channel.fd, None)
            if companion is not None:
                companion.on_closed()

    def find(self, fd: int) -> Channel | None:
        """Return the channel that is registered for a descriptor, or None."""
        return self.channels[fd] if 0 <= fd < len(self.channels) else None

    def defer(self, channel: Channel) -> None:
        """Put a channel on the deferred list. The next turn dispatches it, and does not sleep before that (rule 3).

        Raise nothing.
        """
        if not channel.deferred:
            channel.deferred = True
            last = self.last_deferred
            if last is None:
                self.first_deferred = channel
            else:
                last.next_deferred = channel
            self.last_deferred = channel

    def schedule_rearm(self, channel: Channel) -> None:
        """Have ``after_callbacks`` called when the callbacks of this turn have run (rule 10). Raise nothing."""
        if not channel.rearm_queued:
            channel.rearm_queued = True
            last = self.last_rearm
            if last is None:
                self.first_rearm = channel
            else:
                last.next_rearm = channel
            self.last_rearm = channel

    def wake(self) -> None:
        """End the wait that is under way, or the next one: the last step of the wake-up protocol (scheduling.py).

        Any thread and any signal handler may call.
        """
        if not self.woken and not self.forked:  # in a forked child it would wake the parent: _take_over wakes
            self.counts.wake += 1  # first: there may be no memory for a large number
            self.woken = True
            self.poller.wake()

    def process_rearm_queue(self) -> None:
        """Re-arm the channels whose callbacks have run, so that what these left unread is reported again (rule 10)."""
        rest = self.first_rearm
        last = self.last_rearm
        self.first_rearm = self.last_rearm = None
        self.unverified = False
        try:
            while rest is not None:
                channel = rest
                rest = channel.next_rearm
                channel.next_rearm = None
                channel.rearm_queued = False
                channel.after_callbacks()
        finally:
            if rest is not None and last is not None:  # one of them has raised
                if self.first_rearm is None:
                    self.last_rearm = last
                else:
                    last.next_rearm = self.first_rearm
                self.first_rearm = rest

    def request_poll(self) -> None:
        """Have the next turn call ``wait``: the caller is doing something that may cause an event."""
        self.needs_poll = True

    def has_sent(self, count: int) -> None:
        """A call of ``sock_*`` has sent so many bytes: count it, and wait next time, as after ``request_poll``."""
        self.needs_poll = True
        counts = self.counts
        counts.send += 1
        counts.bytes_out += count

    def has_received(self, count: int) -> None:
        """A call of ``sock_*`` has received so many bytes."""
        counts = self.counts
        counts.recv += 1
        counts.bytes_in += count

    def may_skip(self) -> bool:
        """Return True if a turn that has callbacks to run may leave ``wait`` out.

        It may not after something that can have caused an event: a program that writes to a peer on the same loop and yields
        expects the event as soon as on asyncio. Otherwise every second turn may. So an event that another thread or a
        direct system call causes is dispatched at most one turn later than on asyncio.
        """
        if self.needs_poll or self.skipped or self.first_deferred is not None:
            return False
        self.skipped = True
        return True

    def wait(self, timeout: float) -> None:
        """Wait for events for at most ``timeout`` seconds, without limit if it is negative. ``dispatch`` handles them."""
        if self.forked:
            self._take_over()
        if self.next_event < self.num_events:
            return  # an exception has ended ``dispatch``, and the kernel does not report the other events again
        if self.first_deferred is not None:
            timeout = 0.0
        elif self.unverified and not 0 <= timeout <= MAX_UNVERIFIED_SECONDS:
            timeout = MAX_UNVERIFIED_SECONDS
        self.needs_poll = self.skipped = False
        self.iteration = self.iteration + 1  # += takes 10 instructions more, compiled
        self.next_event = self.num_events = 0
        counts = self.counts
        counts.waits += 1
        pulse = self.pulse
        if pulse.reported:
            pulse.end_turn()
        pulse.busy_since = 0.0
        if timeout == 0.0:
            num_events = self.poller.wait(0.0)
            self.num_events = num_events
            self.woken = False  # after the wait, before the inbox is read: scheduling.py
            self.idle = False
            counts = self.counts  # again: ``share`` may have changed it meanwhile
            pulse.busy_since = ticks.ticks(counts.by_counter) * pulse.tick if pulse.watched else UNTIMED
            counts.events += num_events
            if not self.iteration & 255 and ticks.ticks(counts.by_counter) > counts.refresh_at:
                self.figures.refresh()  # a loop that is never idle
            return
        before = ticks.ticks(counts.by_counter)
        counts.slept_at = before
        num_events = self.poller.wait(timeout)
        self.num_events = num_events
        self.woken = False  # as above
        self.idle = not num_events
        counts = self.counts
        counts.events += num_events
        after = ticks.ticks(counts.by_counter)
        counts.woken_at = after
        pulse.busy_since = after * pulse.tick
        counts.idle += after - before
        if after > counts.refresh_at:
            self.figures.refresh()
            self.counts.woken_at = ticks.ticks(counts.by_counter)  # the first callback has no part in that

    def dispatch(self) -> None:
        """Call ``on_ready`` of each channel that has an event, then of each deferred one.

        Raise what one of them raises, at once. The next call dispatches the others, and this one again: it may have done one
        half of its event only.
        """
        rest = self.first_deferred
        last: Channel | None = None
        if self.resumed:
            self.resumed = False
            rest = None  # they have had their share of this turn
        elif rest is not None:
            last = self.last_deferred
            self.first_deferred = self.last_deferred = None  # what is deferred from here on belongs to the next turn
        channels = self.channels
        poller = self.poller
        channel: Channel | None = None
        completed = False
        try:
            while self.next_event < self.num_events:
                index = self.next_event
                self.next_event = index + 1
                fd = poller.fds[index]
                if fd >= len(channels):
                    continue  # the eventfd has no channel
                channel = channels[fd]
                if channel is None or channel.registered_in == self.iteration:
                    continue  # it was removed, or the event is its predecessor's (rule 9)
                mask = poller.masks[index]
                if mask == calls.EPOLL_INPUT:  # the most frequent one
                    channel.readable = True
                else:
                    # HUP and ERR set both: a system call will say what happened (rule 8).
                    if mask & calls.EPOLL_READ:
                        channel.readable = True
                    if mask & calls.EPOLL_WRITE:
                        channel.writable = True
                    if mask & calls.EPOLL_HANGUP:
                        channel.hangup = True
                    if mask & calls.EPOLL_URGENT:
                        channel.urgent = True
                if not channel.deferred:  # else it comes below: one buffer in each turn (rule 3)
                    if self.observer is None:
                        channel.on_ready()
                    else:
                        self.observer.dispatch(channel)
                    if self.counts.measuring:
                        self.figures.callback_ended(channel, True)
                    if self.flush_queue:
                        self.callback_ended()
            while rest is not None:
                channel = rest
                rest = channel.next_deferred
                channel.next_deferred = None
                channel.deferred = False
                if channel.added:
                    if self.observer is None:
                        channel.on_ready()
                    else:
                        self.observer.dispatch(channel)
                    if self.counts.measuring:
                        self.figures.callback_ended(channel, True)
                    if self.flush_queue:
                        self.callback_ended()
            completed = True
        finally:
            if not completed:  # SystemExit or KeyboardInterrupt
                self.interrupted = True
                if rest is not None and last is not None:
                    if self.first_deferred is None:
                        self.last_deferred = last
                    else:
                        last.next_deferred = self.first_deferred
                    self.first_deferred = rest
                if channel is not None and channel.added:
                    self.defer(channel)

    def after_fork(self) -> None:
        """Note, in the child of a fork, that the epoll set is the parent's (rule 11). core/fork.py calls this."""
        self.forked = True
        self.usable = self.usable and not self.thread
        self.forks += 1
        self.thread = 0
        self.pulse.abandon()
        self.figures.make_private()  # the file is the parent's
        self.use_figures()

    def _take_over(self) -> None:
        # The first use of the loop in the child, with a set of its own. Most children never use the loop.
        if not self.usable:
            raise RuntimeError(
                "this event loop belongs to the process that this one was forked from, where it is running"
            )
        inherited = self.poller  # closed at the end, without a DEL: the parent uses the same set
        if not self.channels:
            raise ValueError("I/O operation on closed epoll object")
        self.poller = Poller()
        self.next_event = self.num_events = 0
        self.forked = False
        try:
            for fd, channel in enumerate(self.channels):
                if channel is None or not channel.added:
                    continue
                if not self.poller.adopt(fd, channel.interest | calls.EPOLL_EDGE):
                    # Somebody has closed it, as daemons do with all descriptors.
                    channel.added = False
                    self.counts.channels[channel.kind] -= 1
                    self.channels[fd] = None
        except BaseException:
            # ENOSPC, ENOMEM: the next use tries again. This set is closed now: that one would take its eventfd for a channel
            # whose owner has closed the same number.
            self.forked = True
            refused = self.poller
            self.poller = inherited
            refused.close()
            raise
        # ``wake`` did nothing while the set was forked, so a callback may wait in the inbox.
        self.woken = True
        self.poller.wake()
        del inherited
