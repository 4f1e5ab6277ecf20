cdef extern from *:
    """
    #include <time.h>

    static __attribute__((noinline, unused)) long long edgeloop_clock_ticks(void) {
        struct timespec moment;
        clock_gettime(CLOCK_MONOTONIC, &moment);
        return (long long)moment.tv_sec * 1000000000 + moment.tv_nsec;
    }
    #if defined(__x86_64__) && defined(__GNUC__)
    #define EDGELOOP_HAS_COUNTER 1
    static inline long long edgeloop_counter_ticks(void) {
        unsigned int low, high;
        __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
        return (long long)(((unsigned long long)high << 32) | low);
    }
    #else
    #define EDGELOOP_HAS_COUNTER 0
    #define edgeloop_counter_ticks edgeloop_clock_ticks
    #endif
    """
    bint has_counter "EDGELOOP_HAS_COUNTER"
    long long clock_ticks "edgeloop_clock_ticks" () noexcept nogil
    long long counter_ticks "edgeloop_counter_ticks" () noexcept nogil


cdef inline long long ticks(bint by_counter) noexcept nogil:
    return counter_ticks() if by_counter else clock_ticks()


cpdef bint may_use_counter() except -1
cpdef long long read(bint by_counter) noexcept
cpdef tuple scale(bint by_counter)
