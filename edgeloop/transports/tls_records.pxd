cimport cython

from edgeloop.transports cimport tls_state


cdef class TLSRecords:
    cdef object _incoming
    cdef object _outgoing
    cdef object _sslobj
    cdef int _input
    cdef object _input_error
    cdef object _received
    cdef Py_ssize_t _received_size
    cdef Py_ssize_t _fed
    cdef object _backlog
    cdef Py_ssize_t _backlog_size
    cdef bint _write_wants_read
    cdef object __weakref__
    cdef _receive(self, buffer, Py_ssize_t size)
    @cython.locals(start=Py_ssize_t, end=Py_ssize_t)
    cdef bint _feed(self) except -1
    cdef _let_go_of_received(self)
    @cython.locals(filled=Py_ssize_t, count=Py_ssize_t)
    cdef Py_ssize_t _decrypt(self, buffer, Py_ssize_t size) except -1
    cdef _take_input_error(self)
    @cython.locals(size=Py_ssize_t, total=Py_ssize_t)
    cdef Py_ssize_t _discard(self, buffer) except -1
    cdef _append(self, data)
    cdef _encrypt(self)
    @cython.locals(size=Py_ssize_t)
    cdef _fit(self, chunk)
    cdef _drop_output(self)
