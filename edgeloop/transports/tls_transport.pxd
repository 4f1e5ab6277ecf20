from edgeloop cimport kernel


cdef class TLSTransport:
    cdef dict __dict__
    cdef readonly object _ssl_protocol
    cdef object __weakref__
