cimport cython

from edgeloop.kernel cimport calls, interpreter, pipes
from edgeloop.core.channel cimport Channel
from edgeloop.core.reactor cimport Reactor
from edgeloop.core.schedule cimport Scheduler
from edgeloop.transports cimport base
from edgeloop.transports.base cimport BaseTransport
from edgeloop.transports.flow cimport WriteHalf

cdef int READ_PIPE
cdef int WRITE_PIPE


cdef _describe(BaseTransport transport, bint polling)


cdef class PipeFile:
    cdef object pipe
    cdef object owner
    cdef int fd
    cdef bint duplicated
    cdef bint device
    cdef bint fifo
    cdef bint byte_stream
    cpdef int _number(self) except -2
    cdef _begin(self, BaseTransport transport, protocol, waiter)
    cdef _replace(self, BaseTransport transport, pipe)
    cdef _close(self)


cdef class ReadPipeTransport(BaseTransport):
    cdef dict __dict__
    cdef PipeFile _file
    cdef on_ready(self)
    @cython.locals(emptied=bint)
    cdef _read(self)
    cdef bint _is_emptied_by(self, Py_ssize_t size) except -1
    cdef bint _is_ordinary(self, exc) except -1
    cdef _give_back(self, int fd)


cdef class WritePipeTransport(WriteHalf):
    cdef dict __dict__
    cdef PipeFile _file
    cdef on_ready(self)
    cdef _reader_gone(self)
    @cython.locals(count=Py_ssize_t)
    cdef _send_write_buffer(self)
    cdef _give_back(self, int fd)
