cimport cython

from edgeloop.kernel cimport calls


@cython.locals(host=str, address=bytes)
cpdef peer_of(peername)


cdef class Peer:
    cdef object key
    cdef Py_ssize_t open


cdef class Admission:
    cdef object _server
    cdef object _refusals
    cdef set _connections
    cdef Py_ssize_t _limit
    cdef Py_ssize_t _per_peer
    cdef object _tell
    cdef Peer _peer
    cdef dict _peers
    cdef dict _peer_of
    @cython.locals(peer=Peer)
    cpdef bint admit(self, listener, int fd, peername) except -1
    cpdef entered(self, transport)
    @cython.locals(peer=Peer)
    cpdef bint told(self, transport, peername) except -1
    @cython.locals(peer=Peer)
    cdef Peer _find(self, key)
    cdef _count(self, transport, Peer peer)
    @cython.locals(peer=Peer)
    cpdef left(self, transport)
