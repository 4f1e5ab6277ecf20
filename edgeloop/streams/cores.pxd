cimport cython

from edgeloop.transports cimport base
from edgeloop.transports.stream cimport StreamTransport

cdef Py_ssize_t MAX_SIZE
cdef bint _TAKES_TUPLES


cdef class ReaderCore:
    cdef public object _loop
    cdef object _limit_given
    cdef Py_ssize_t _max_line
    cdef Py_ssize_t _max_kept
    cdef bytes _chunk
    cdef Py_ssize_t _start
    cdef bytearray _array
    cdef bint _exposed
    cdef public bint _eof
    cdef public object _waiter
    cdef public object _exception
    cdef public object _transport
    cdef public bint _paused
    cdef public object _source_traceback
    @cython.locals(array=bytearray)
    cdef bytearray _all_in_array(self)
    cdef Py_ssize_t _unread(self)
    cdef _wake(self)
    cpdef _arrival(self, function)
    cpdef _gave_up(self, waiter)
    cdef _resume(self)
    cdef _resume_if_few(self)
    @cython.locals(array=bytearray, chunk=bytes, start=Py_ssize_t)
    cdef bytes _take(self, Py_ssize_t count)
    cpdef _rest(self, count)
    @cython.locals(size=Py_ssize_t)
    cpdef _some(self, count)
    @cython.locals(size=Py_ssize_t)
    cpdef _exactly(self, count, bint waited)
    @cython.locals(shortest=Py_ssize_t, longest=Py_ssize_t, unread=Py_ssize_t, found=Py_ssize_t, end=Py_ssize_t,
                   place=Py_ssize_t, separators=list)
    cpdef _until(self, separator, Py_ssize_t offset, bint waited)
    @cython.locals(found=Py_ssize_t)
    cdef Py_ssize_t _find(self, separator, Py_ssize_t offset) except -2
    cpdef _drop_line(self, Py_ssize_t consumed, separator)
    cdef bytes _drop_all(self)


cdef class WriterCore:
    cdef public object _transport
    cdef public object _protocol
    cdef public object _reader
    cdef public object _loop
    @cython.locals(reader=ReaderCore, protocol=ProtocolCore, transport=StreamTransport)
    cpdef _drained(self)


cdef class ProtocolCore:
    cdef public object _stream_reader_wr
    cdef public bint _paused
    cdef public bint _connection_lost
