from edgeloop cimport kernel
from edgeloop.transports.tls_writing cimport TLSWriter


cdef class TLSTransport:
    cdef dict __dict__
    cdef readonly TLSWriter _ssl_protocol
    cdef object __weakref__
