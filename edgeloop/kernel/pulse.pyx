"""What a loop's thread publishes for its watchdog, and the watchdog's sleep. ``pulse.py`` is the pure edition, and says what
callers may rely on.

``next_report`` sleeps and looks without the GIL. Before it asks for the GIL it starts a thread, the guard (guard.pxd), which
prints the stacks if the GIL doesn't come.
"""

import os
import signal

from libc.stdlib cimport calloc, free

from edgeloop.kernel cimport interpreter, ticks
from edgeloop.kernel.guard cimport (
    edgeloop_sleeper, edgeloop_guard, edgeloop_be_quiet, edgeloop_new_sleeper, edgeloop_free_sleeper,
    edgeloop_end_sleep, edgeloop_sleep_until, edgeloop_now, edgeloop_tid, edgeloop_delay, edgeloop_cpu,
    edgeloop_examine, edgeloop_find_dump, edgeloop_start_guard, edgeloop_got_lock, edgeloop_end_guard,
)

CLOSED, LATE, ENDED, STOPPED, NOTHING = 0, 1, 2, 3, 4
UNTIMED = 1.0
GRACE = 0.1
NO_CALL, UNKNOWN = -1, -2
LOOKS_WITHOUT_LOCK = True

cdef enum:
    IS_CLOSED = 0
    IS_LATE = 1
    IS_ENDED = 2
    IS_STOPPED = 3
    IS_NOTHING = 4


cdef class Watch:
    """One watch of a Pulse, from ``start`` on, and the guard of its thread. See pulse.py."""

    def __cinit__(self):
        self._guard = calloc(1, sizeof(edgeloop_guard))
        if self._guard == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self._guard)

    def lend_thread(self):
        """The thread that calls ``next_report`` does something of the program's. The guard sees whether that holds the GIL."""

    def end(self):
        """The thread that has called ``next_report`` ends."""
        with nogil:
            edgeloop_end_guard(<edgeloop_guard*>self._guard)


cdef class Pulse:
    """Since when the thread of one loop is busy, and what the kernel says about that thread. See pulse.py."""

    def __cinit__(self):
        self._sleeper = edgeloop_new_sleeper()
        if self._sleeper == NULL:
            raise MemoryError
        self._by_counter = ticks.may_use_counter()
        self.tick = ticks.scale(self._by_counter)[2] * 1e-9
        self.threshold = 0.1
        self.closed = True
        self.state = "?"
        self.system_call = -2
        self._base_since = -1.0

    def __dealloc__(self):
        edgeloop_free_sleeper(<edgeloop_sleeper*>self._sleeper)

    cdef double _clock(self) noexcept nogil:
        return ticks.ticks(self._by_counter) * self.tick

    def now(self):
        """Return the time, by the clock of ``busy_since``."""
        return self._clock()

    def start(self, double threshold):
        """Begin to publish. Return what ``next_report`` is called with. A watch that was begun before ends."""
        cdef Watch watch = Watch()
        self.threshold = threshold
        self.watched_since = self._clock()
        self.closed = False
        self._number += 1
        watch.number = self._number
        self.watched = True
        edgeloop_end_sleep(<edgeloop_sleeper*>self._sleeper)  # the thread of a watch before
        return watch

    def close(self):
        """End ``next_report``, now and for good."""
        self.closed = True
        self.watched = self.reported = False
        edgeloop_end_sleep(<edgeloop_sleeper*>self._sleeper)

    def abandon(self):
        """Do what ``close`` does, in the child of a fork, where the watchdog's thread does not exist."""
        cdef edgeloop_sleeper* sleeper = edgeloop_new_sleeper()
        if sleeper != NULL:
            self._sleeper = sleeper  # the other one may be locked, by a thread of the parent
        edgeloop_be_quiet(0)  # the parent's
        self.closed = True
        self.watched = self.reported = False
        self.watchdog = None

    cpdef begin_run(self):
        """The calling thread runs the loop from now on."""
        self.thread = interpreter.this_thread()
        self.tid = edgeloop_tid()
        self.busy_since = self._clock()

    cpdef end_run(self):
        """No thread runs the loop any more."""
        if self.reported:
            self.end_turn()
        self.busy_since = 0.0
        self.thread = 0
        self.tid = 0

    cpdef end_turn(self):
        """The turn that was reported is over. The watchdog wakes up."""
        self.reported = False
        self.ended_at = self._clock()
        edgeloop_end_sleep(<edgeloop_sleeper*>self._sleeper)

    def collection_began(self):
        """The loop's thread begins to collect garbage."""
        self._collecting_since = self._clock()

    def collection_ended(self):
        """The collection is over."""
        cdef double since = self._collecting_since
        self._collecting_since = 0.0
        if self._collected_in != self.busy_since:
            self._collected_in = self.busy_since
            self.collected = 0.0
        if since:
            self.collected += self._clock() - since

    def in_turn(self, double turn):
        """Return True if the loop is still in this turn."""
        return self.busy_since == turn or (self.busy_since == 1.0 and self.watched_since == turn)

    def collected_in(self, double turn):
        """Return the seconds of collections in this turn."""
        return self.collected if self._collected_in == turn else 0.0

    def next_report(self, Watch watch not None, double known, double limit, double until):
        """Sleep until there is something to report. See pulse.py."""
        cdef edgeloop_guard* guard = <edgeloop_guard*>watch._guard
        cdef int number = watch.number
        cdef int found
        cdef double asked, delay, own
        with nogil:
            edgeloop_end_guard(guard)
            edgeloop_be_quiet(1)
            found = self._sleep(number, known, limit, until, guard)
            edgeloop_be_quiet(-1)
            guard.busy_since = &self.busy_since
            guard.threshold = self.threshold
            guard.offset = self._clock() - edgeloop_now()
            guard.tid = self.tid
            guard.watcher = edgeloop_tid()
            guard.collecting_since = &self._collecting_since
            edgeloop_start_guard(guard)
            delay = edgeloop_delay(self.tid)
            own = edgeloop_delay(guard.watcher)
            asked = self._clock()
        # A thread that gets no processor gives no lock away, and takes none.
        self.lock_wait = self._clock() - asked - (edgeloop_delay(self.tid) - delay) - (edgeloop_delay(guard.watcher) - own)
        edgeloop_got_lock(guard)
        self.printed = found == IS_LATE and guard.printed == self.late_since
        self.state = chr(self._state)
        return found

    cdef int _sleep(self, int number, double known, double limit, double until, void* place) noexcept nogil:
        cdef edgeloop_guard* guard = <edgeloop_guard*>place
        cdef double now, since, due, next_look, began, delay, late
        cdef int own = edgeloop_tid()
        while True:
            now = self._clock()
            if self.closed or number != self._number:
                return IS_CLOSED
            since = self.busy_since
            if since == 1.0:  # UNTIMED
                since = self.watched_since
            due = now + self.threshold
            if guard.printed > self.late_since and guard.printed != since and not known:
                self.late_since = guard.printed  # its end has come before this thread could look
                self.ended_at = now
                self._sample(now)
                self._state = c'?'
                self.system_call = -2
                return IS_LATE
            if known:
                if since != known:
                    if self.ended_at < known:
                        self.ended_at = now
                    self._sample(now)
                    return IS_ENDED
                due = known + limit
            elif since:
                due = since + self.threshold
            if since:
                due = max(due, self._resumed_at + self.threshold)
                if due <= now:
                    self.late_since = since
                    self._sample(now)
                    self.reported = True
                    return IS_LATE
            if now >= until:
                return IS_NOTHING
            if since != self._base_since:
                self._base_since = since
                self._base_at = now
                self._base_cpu = edgeloop_cpu(self.tid)
                self._base_delay = edgeloop_delay(self.tid)
            next_look = min(min(due, until), now + max(self.threshold / 2, 0.001))
            delay = edgeloop_delay(own)
            began = self._clock()  # on a busy machine it takes long to come here: no part of being late
            edgeloop_sleep_until(<edgeloop_sleeper*>self._sleeper, edgeloop_now() + next_look - began)
            now = self._clock()
            late = now - max(next_look, began)
            if late <= min(max(self.threshold / 2, 0.1), 0.5):
                continue
            # It was stopped, unless the kernel says that it waited for a processor.
            if edgeloop_delay(own) - delay < late / 4:
                self.stopped = late
                self._resumed_at = now
                self._base_since = -1.0
                return IS_STOPPED

    cdef void _sample(self, double now) noexcept nogil:
        edgeloop_examine(self.tid, &self._state, &self.system_call)
        self.cpu = edgeloop_cpu(self.tid) - self._base_cpu
        self.delay = edgeloop_delay(self.tid) - self._base_delay
        self.wall = now - self._base_at
        self.collecting = now - self._collecting_since if self._collecting_since else 0.0


_dump_signal = 0
_dump_file = -1


def open_dump():
    """Make the stacks of all threads printable without the GIL. ``close_dump`` undoes it.

    faulthandler has no function to be called from C. What it registers for a signal is one: a real-time signal that nobody
    uses is reserved for it, and never sent.
    """
    global _dump_signal, _dump_file
    if _dump_file >= 0:
        return
    import faulthandler  # like tempfile only where a loop is watched: the import of the package shall cost little

    file = os.memfd_create("edgeloop.watch") if hasattr(os, "memfd_create") else _temporary_file()
    for number in range(signal.SIGRTMAX - 2, signal.SIGRTMIN, -1):
        if signal.getsignal(number) == signal.SIG_DFL:
            break
    faulthandler.register(number, file=file, all_threads=True)
    if edgeloop_find_dump(number, file):
        _dump_signal, _dump_file = number, file
    else:
        faulthandler.unregister(number)
        os.close(file)


def close_dump():
    """Undo ``open_dump``. No thread may be in ``next_report``."""
    global _dump_signal, _dump_file
    number, file = _dump_signal, _dump_file
    _dump_signal, _dump_file = 0, -1
    if file >= 0:
        if edgeloop_find_dump(number, -1):
            import faulthandler

            faulthandler.unregister(number)
        edgeloop_find_dump(0, -1)
        os.close(file)


def read_dump():
    """Return what was printed last, "" if that is unknown."""
    return os.pread(_dump_file, 1 << 20, 0).decode("utf-8", "replace") if _dump_file >= 0 else ""


def _temporary_file():
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
