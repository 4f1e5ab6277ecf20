"""Which bytes are gathered, for how long, and when they leave: rule 5 of docs/edges.md.

A channel with gathered bytes is in the flush queue. What its callback costs the others is judged when the callback ends.
Some programs call a transport's ``write`` in another thread, against asyncio's rules. ``may_gather`` tests for that.
"""

from __future__ import annotations

from ..kernel import calls, interpreter
from ..watching.figures import Counting
from .channel import Channel

# A callback is short if it ends this soon after its first write: gathering would have cost that write nothing. No
# gathered byte waits longer than this for other callbacks.
SHORT_SECONDS = 100e-6
LONG_SECONDS = 1e-3  # a callback that runs this long after a write loses its channel's credit
EARNED = 4  # short callbacks in a row after which a channel's writes are gathered
FORFEITED = -256  # one held up what was gathered: so many more until they are gathered again
CAUTIOUS_CALLBACKS = 16  # after one that was not short, this many have their writes sent when they end


class Gathering(Counting):
    """The flush queue. The Reactor's part that knows of bytes, not of events.

    Where no line says otherwise, only its methods change an attribute, in the thread that runs the loop.
    """

    def __init__(self) -> None:
        self.thread = 0  # threading.get_ident() of the thread that runs the loop, or 0: event_loop.py sets it
        self.flush_queue: list[Channel] = []  # have gathered bytes (rule 5); a write in any thread may append
        self.unflushed: list[Channel] | None = None  # the queue of a flush that was interrupted: they come first
        self.unflushed_from = 0  # the index of the first of them
        self.flush_queued_at = 0.0  # when the first of them was appended
        self.judged = 0  # how many of them have had their callback judged
        self.judged_at = 0.0  # when the last of those callbacks ended
        self.cautious = 0  # callbacks left whose writes are sent when they end
        self.late = False  # during a flush: its bytes have waited for longer than LONG_SECONDS

    def may_gather(self, channel: Channel) -> bool:
        """Return True if a write may be gathered: the channel has earned it, and the loop's thread writes (rule 5)."""
        return channel.credit >= EARNED and self.thread == interpreter.this_thread()

    def is_overdue(self, channel: Channel) -> bool:
        """Return True if a write may not wait for the callback to end, nor what the channel has gathered (rule 5).

        For a channel in the flush queue: the callback may have written to it before, and long ago. What earlier callbacks
        gathered is ``callback_ended``'s.
        """
        elapsed = calls.now() - (self.judged_at if self.judged else self.flush_queued_at)
        if elapsed > LONG_SECONDS:
            self._forfeit(channel)
        return elapsed >= SHORT_SECONDS

    def _forfeit(self, channel: Channel) -> None:
        # Its callback was long. With less credit its bytes had left. One that sends pieces, now and then, must not be trusted
        # each time.
        channel.credit = FORFEITED if channel.credit >= EARNED else min(channel.credit, 0)

    def may_send(self) -> bool:
        """Return True if this thread may send what is gathered: it runs the loop, or no thread does."""
        return not self.thread or self.thread == interpreter.this_thread()

    def schedule_flush(self, channel: Channel) -> None:
        """Have ``flush`` called, before the next wait at the latest, and judge the callback when it ends (rule 5)."""
        if not channel.flush_queued:
            if not self.flush_queue:
                self.flush_queued_at = calls.now()
            channel.flush_queued = True  # before it is in the queue: the loop's thread may flush it at once
            appended = False
            try:
                self.flush_queue.append(channel)
                appended = True
            finally:
                if not appended:  # MemoryError
                    channel.flush_queued = False

    def callback_ended(self) -> None:
        """Judge a callback that has ended by the channels it queued, and send what may not wait (rule 5).

        Called after each callback while the flush queue is not empty.
        """
        now = calls.now()
        # From its first write, or, if callbacks before it have written, from the end of the last of those.
        elapsed = now - (self.judged_at if self.judged else self.flush_queued_at)
        while self.judged < len(self.flush_queue):
            channel = self.flush_queue[self.judged]
            self.judged = self.judged + 1
            if elapsed > LONG_SECONDS:
                self._forfeit(channel)
            elif elapsed < SHORT_SECONDS and channel.credit < EARNED:
                channel.credit += 1
        self.judged_at = now
        waited = now - self.flush_queued_at
        if elapsed >= SHORT_SECONDS:
            self.cautious = CAUTIOUS_CALLBACKS
        elif self.cautious:
            self.cautious -= 1
        elif waited < SHORT_SECONDS:
            return
        self.late = waited > LONG_SECONDS
        try:
            self.flush()
        finally:
            self.late = False

    def flush(self) -> None:
        """Send what is gathered. If a channel raises, the others are the first of the next call."""
        self._put_back()
        while self.flush_queue:
            self.judged = 0
            if len(self.flush_queue) == 1:  # most often: the list keeps its memory
                channel = interpreter.take_only(self.flush_queue)
                channel.flush_queued = False
                channel.flush()
                continue
            flush_queue = self.flush_queue
            self.flush_queue = []
            index = 0
            try:
                for channel in flush_queue:
                    index += 1
                    channel.flush_queued = False
                    channel.flush()
            except BaseException:
                self.unflushed_from = index
                self.unflushed = flush_queue
                raise

    def _put_back(self) -> None:
        # What an interrupted flush has left comes first. Without memory for that, it stays where it is.
        unflushed = self.unflushed
        if unflushed is not None:
            self.flush_queue[:0] = unflushed[self.unflushed_from :]
            self.unflushed = None

    def push(self) -> None:
        """Send what is gathered, and call no callback of the program. Do nothing in a thread that may not send."""
        if self.may_send():
            self._put_back()
            for channel in list(self.flush_queue):
                channel.push()
