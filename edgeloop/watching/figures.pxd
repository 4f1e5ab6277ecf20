cimport cython

from edgeloop.kernel cimport ticks as clock


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* layout.bucket: a double's exponent and the first three bits of its fraction are eight for each power of two. */
    static inline unsigned int edgeloop_bucket(double nanoseconds) {
        int64_t bits;
        unsigned int place;
        memcpy(&bits, &nanoseconds, sizeof bits);
        place = (unsigned int)(bits >> 49) - ((1023 + 6) * 8 - 1);
        if (__builtin_expect(place > 273, 0))
            place = nanoseconds < 64 ? 0 : 273;
        return place;
    }
    """
    unsigned int bucket_of "edgeloop_bucket" (double nanoseconds) noexcept nogil


cdef enum:
    KINDS = 7
    BUCKETS = 274
    TEXT_SIZE = 128


cdef struct Histogram:
    long long sum
    long long max
    long long buckets[BUCKETS]


cdef struct Counts:
    long long magic
    long long version
    long long size
    long long pid
    long long process_started
    long long number
    long long made_at
    long long closed
    long long by_counter
    long long base_ticks
    long long base_ns
    double ns_per_tick
    long long thread
    long long turns
    long long slept_at
    long long woken_at
    long long idle
    long long running_since
    long long ran
    long long refresh_at
    long long refreshed_at
    long long wanted_until
    long long measuring
    long long began
    long long turn_began
    long long waits_since
    long long ready
    long long timers_waiting
    long long waits
    long long events
    long long callbacks
    long long timers
    long long epoll_ctl
    long long recv
    long long send
    long long read
    long long write
    long long accept
    long long sendfile
    long long wake
    long long bytes_in
    long long bytes_out
    long long accepts
    long long accepts_refused
    long long accepts_failed
    long long connections_made
    long long connections_closed
    long long lost_end
    long long lost_reset
    long long lost_error
    long long lost_abort
    long long lost_timeout
    long long handshakes
    long long handshakes_failed
    long long writing_paused
    long long channels[KINDS]
    long long children
    long long threads
    long long jobs_queued
    long long longest_writes
    long long longest_ns
    char longest_text[TEXT_SIZE]
    Histogram delay
    Histogram turn
    Histogram callback


ctypedef Counts* CountsPointer


cdef class Counting:
    cdef Counts* counts


cdef inline void record(Histogram* histogram, long long ticks, double scale) noexcept:
    histogram.buckets[bucket_of(ticks * scale)] += 1
    histogram.sum += ticks
    if ticks > histogram.max:
        histogram.max = ticks


@cython.final
cdef class Figures:
    cdef Counts* counts
    cdef readonly object longest
    cdef public object file
    cdef readonly bint shared
    cdef object __weakref__
    cdef refresh(self)
    cdef bint _remap(self) noexcept
    cdef long long* _at(self, Py_ssize_t place) except NULL
    cdef void _note(self, what, long long length) noexcept
    cdef _set_longest(self, what, long long length)

    cdef inline void turn_begins(self) noexcept:
        cdef Counts* counts = self.counts
        cdef long long began = counts.turn_began
        cdef long long now, ended
        if not began:
            now = counts.waits_since = clock.ticks(counts.by_counter)
        else:
            if counts.woken_at > began:  # the wait has read the clock
                now = counts.woken_at
                ended = counts.slept_at
                counts.waits_since = began if (now - ended) * 8 < ended - began else now
            else:
                ended = now = clock.ticks(counts.by_counter)
                counts.waits_since = began
            record(&counts.turn, ended - began, counts.ns_per_tick)
        counts.turn_began = counts.began = now

    cdef inline void callback_ended(self, what, bint waited) noexcept:
        cdef Counts* counts = self.counts
        cdef long long now = clock.ticks(counts.by_counter)
        cdef long long began = counts.began
        cdef double scale = counts.ns_per_tick
        cdef long long length = now - began
        counts.began = now
        if waited:
            record(&counts.delay, began - counts.waits_since, scale)
        counts.callback.buckets[bucket_of(length * scale)] += 1
        counts.callback.sum += length
        if length > counts.callback.max:
            counts.callback.max = length
            self._note(what, length)

    cdef inline void record_delay(self, double seconds) noexcept:
        cdef double scale = self.counts.ns_per_tick
        record(&self.counts.delay, <long long>(seconds * 1e9 / scale), scale)
