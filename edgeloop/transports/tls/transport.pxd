from edgeloop.kernel cimport interpreter
from edgeloop.transports.tls.writing cimport TLSWriter


cdef class TLSTransport:
    cdef dict __dict__
    cdef readonly TLSWriter _ssl_protocol
    cdef object __weakref__
