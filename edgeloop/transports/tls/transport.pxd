from edgeloop.kernel cimport interpreter
from edgeloop.transports.tls.connection cimport TLSConnection
from edgeloop.transports.tls.protocol cimport TLSProtocol


cdef class TLSTransport:
    cdef dict __dict__
    cdef readonly TLSProtocol _ssl_protocol
    cdef TLSConnection _tls_connection
    cdef object __weakref__
