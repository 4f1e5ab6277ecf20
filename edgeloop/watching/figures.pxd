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


cdef class Figures:
    cdef Counts* counts
    cdef readonly object longest
    cdef public object file
    cdef readonly bint shared
    cdef object __weakref__
    cdef turn_begins(self)
    cdef callback_ended(self, what, bint waited)
    cdef record_delay(self, double seconds)
    cdef refresh(self)
    cdef bint _remap(self) noexcept
    cdef long long* _at(self, Py_ssize_t place) except NULL
    cdef _note(self, what, long long length)
