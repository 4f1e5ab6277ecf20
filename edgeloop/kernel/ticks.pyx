"""The cheapest clock for intervals. ``ticks.py`` is the pure edition, and says what callers may rely on.

clock_gettime(2) takes as long as the rest of what the loop counts for an event. Where the kernel keeps CLOCK_MONOTONIC by the
processor's time stamp counter, it has verified that the counter runs at one rate, also in sleep states, and is the same on all
processors. There the counter itself is read. The kernel's choice is asked once, at the import.
"""

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, ...)
    int PR_GET_TSC, PR_TSC_ENABLE

cdef bint trusted = False
cdef long long first_counter = 0
cdef long long first_clock = 0

# The rate is measured from the import on: over so many nanoseconds at least, which makes it certain to a ten-thousandth. When
# it has been measured over a second, it stays: what was counted may not become less by a better rate.
cdef enum:
    MIN_BASELINE = 1000000
    LONG_BASELINE = 1000000000

cdef double settled = 0


cdef void pair(long long* counter, long long* clock) noexcept:
    """Read both at one moment: the best of a few attempts, since the thread may be interrupted in between."""
    cdef long long before, after, moment, best = -1
    cdef int i
    for i in range(8):
        before = counter_ticks()
        moment = clock_ticks()
        after = counter_ticks()
        if best < 0 or after - before < best:
            best = after - before
            counter[0] = before + (after - before) // 2
            clock[0] = moment


cdef bint is_the_kernels_clock() except -1:
    cdef int enabled = 0
    if not has_counter:
        return False
    if prctl(PR_GET_TSC, &enabled) != 0 or enabled != PR_TSC_ENABLE:
        return False  # prctl(2): reading it would be SIGSEGV
    try:
        with open("/sys/devices/system/clocksource/clocksource0/current_clocksource", "rb") as file:
            return file.read().strip() == b"tsc"
    except OSError:
        return False


trusted = is_the_kernels_clock()
pair(&first_counter, &first_clock)


cpdef bint may_use_counter() except -1:
    """Return True if ``by_counter`` may be True."""
    return trusted


cpdef long long read(bint by_counter) noexcept:
    """Return the time in ticks."""
    return ticks(by_counter)


cpdef tuple scale(bint by_counter):
    """Return a moment in ticks, the same in nanoseconds of CLOCK_MONOTONIC, and the nanoseconds of a tick."""
    global settled
    cdef long long counter = 0, clock = 0
    cdef double rate
    if not by_counter:
        clock = clock_ticks()
        return clock, clock, 1.0
    pair(&counter, &clock)
    while clock - first_clock < MIN_BASELINE:
        pair(&counter, &clock)
    if settled:
        return counter, clock, settled
    rate = <double>(clock - first_clock) / <double>(counter - first_counter)
    if clock - first_clock >= LONG_BASELINE:
        settled = rate
    return counter, clock, rate
