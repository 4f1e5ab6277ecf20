cimport cython

from edgeloop cimport kernel
from edgeloop.transports cimport tls_state

cdef Py_ssize_t RECORD
cdef Py_ssize_t PIECE
cdef Py_ssize_t MOST_TAKEN
cdef Py_ssize_t MOST_PLAIN


cdef class TLSRecords:
    cdef object _incoming
    cdef object _outgoing
    cdef object _sslobj
    cdef object _feed_engine
    cdef object _read_engine
    cdef object _write_engine
    cdef object _drain_engine
    cdef Py_ssize_t _fed
    cdef Py_ssize_t _most
    cdef tuple _arguments
    cdef int _input
    cdef object _input_error
    cdef object _received
    cdef list _backlog
    cdef Py_ssize_t _taken
    cdef Py_ssize_t _backlog_size
    cdef bint _write_wants_read
    cdef object __weakref__
    cdef _receive(self, data)
    cdef bint _feed(self) except -1
    cdef _read(self, tuple arguments)
    cdef bint _is_dry(self) except -1
    @cython.locals(size=Py_ssize_t, most=Py_ssize_t, pieces=list)
    cdef _decrypted(self)
    @cython.locals(filled=Py_ssize_t, count=Py_ssize_t)
    cdef Py_ssize_t _decrypt(self, buffer, Py_ssize_t size) except -1
    cdef _take_input_error(self)
    @cython.locals(total=Py_ssize_t)
    cdef Py_ssize_t _discard(self) except -1
    cdef _append(self, data)
    cdef _encrypt(self)
    @cython.locals(size=Py_ssize_t)
    cdef _fit(self, chunk)
    @cython.locals(count=Py_ssize_t)
    cdef _take(self)
    cdef _put_back(self, chunk)
    cdef _drop_output(self)
