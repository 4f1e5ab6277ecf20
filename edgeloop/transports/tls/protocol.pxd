cimport cython

from edgeloop.transports.tls cimport state
from edgeloop.transports.tls.connection cimport TLSConnection
from edgeloop.transports.tls.engine cimport Engine


cdef class TLSProtocol:
    cdef TLSConnection connection
    cdef Engine _engine
    cdef object _loop
    cdef bint _server_side
    cdef object _server
    cdef dict _extra
    cdef object _handshake
    cdef bint _connected
    cdef bint _app_buffered
    cdef bint _reading_paused
    cdef bint _resume_scheduled
    cdef readonly bint _application_heard
    cdef object __weakref__
    @cython.locals(handshaking=bint)
    cdef _use_input(self)
    cdef bint _go_on_with_handshake(self) except -1
    cdef _do_handshake(self)
    cdef _handshake_failed(self, exc)
    cdef _end_handshake(self, exc)
    @cython.locals(filled=Py_ssize_t, data=bytes)
    cdef _deliver(self)
    cdef _read_on_later(self)
    cdef _end_of_data(self)
    cdef _deliver_later(self)
