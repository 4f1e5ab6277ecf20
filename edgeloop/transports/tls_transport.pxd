cdef class TLSTransport:
    cdef readonly object _ssl_protocol
    cdef object __weakref__
