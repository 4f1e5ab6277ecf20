cimport cython

from edgeloop.core.reactor cimport Reactor
from edgeloop.core.schedule cimport Scheduler
from edgeloop.core.wheel cimport Member, Ring, Wheel
from edgeloop.kernel cimport epoll
from edgeloop.transports cimport base
from edgeloop.transports.rates cimport RateLimits, Rates
from edgeloop.transports.stream cimport StreamTransport

cdef double NEVER

cdef double _or_never(value) except? -1
cdef double _period(double timeout) except? -1


cdef class Watched(Member):
    cdef Deadlines _deadlines
    cdef StreamTransport _transport
    cdef double _looked_at
    cdef long long _received
    cdef long long _sent
    cdef long long _resumes
    cdef double _opened_at
    cdef double quiet_since
    cdef double _silent_since
    cdef double _stuck_since
    cdef bint silent
    cdef unsigned long long _found_in
    @cython.locals(transport=StreamTransport, deadlines=Deadlines, reactor=Reactor, ending=bint)
    cdef look(self, double now)
    @cython.locals(transport=StreamTransport, rates=Rates, sent=bint, resumed=bint, moved=bint, unsent=bint, reading=bint)
    cdef sample(self, double now)
    @cython.locals(transport=StreamTransport)
    cdef bint _has_heard(self) except -1
    cdef _set_back(self, double now)
    @cython.locals(deadlines=Deadlines)
    cdef _deadline(self, double now)
    cdef bint is_ending(self) except -1
    cdef sacrifice(self)


cdef class Deadlines:
    cdef Scheduler _loop
    cdef Reactor reactor
    cdef object _server
    cdef Wheel _wheel
    cdef double idle
    cdef double first_byte
    cdef double write
    cdef double lifetime
    cdef bint _limits_time
    cdef bint _limits_rate
    cdef RateLimits _rates
    cdef Ring _silent
    cdef Ring _heard
    cdef Ring ending
    cdef double _no_room_until
    @cython.locals(shortest=double, transport=StreamTransport)
    cpdef set_limits(self, limits, connections)
    cpdef watch(self, StreamTransport transport)
    cdef place(self, Watched watched)
    cdef end(self, StreamTransport transport, str kind)
    @cython.locals(now=double, ring=Ring, watched=Watched)
    cpdef bint make_room(self) except -1
