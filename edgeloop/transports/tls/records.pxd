cimport cython

from edgeloop.transports.tls cimport engine, state
from edgeloop.transports.tls.engine cimport Engine

cdef Py_ssize_t MAX_TAKEN


cdef class TLSRecords:
    cdef object _sslobj
    cdef Engine _engine
    cdef list _write_buffer
    cdef Py_ssize_t _taken
    cdef Py_ssize_t _write_buffer_size
    cdef bint _write_wants_read
    cdef object __weakref__
    cdef _take_input_error(self)
    @cython.locals(total=Py_ssize_t)
    cdef Py_ssize_t _discard(self) except -1
    cdef _append(self, data)
    @cython.locals(size=Py_ssize_t)
    cdef _encrypt(self)
    @cython.locals(size=Py_ssize_t)
    cdef _fit(self, chunk)
    @cython.locals(count=Py_ssize_t)
    cdef _take(self)
    cdef _put_back(self, chunk)
    cdef _drop_output(self)
