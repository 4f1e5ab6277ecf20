"""The system calls on pipes and character devices of the compiled edition; ``kernel_pipes.py`` is the pure edition's.

A part of the kernel room. The calls are made with the GIL held, because releasing it costs more than the call.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EIO
from posix.unistd cimport read as posix_read
from posix.unistd cimport write as posix_write

from edgeloop.kernel cimport BUFFER_SIZE, again
from edgeloop.kernel_headers cimport iovec
from edgeloop.kernel_vectors cimport Vectors, gather, release

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, int* value)
    unsigned long FIONREAD

cdef extern from "<sys/uio.h>" nogil:
    ssize_t writev(int fd, const iovec* vectors, int count)

# Shared by every loop of the process: it is only used with the GIL held, between a read and the copy of what came.
cdef char buffer_of_all[BUFFER_SIZE]

terminal_gone = EIO
"""The errno of read(2) on a terminal whose other side was closed: its way to say end of file."""


cpdef read(int fd):
    """``recv`` for what need not be a socket: a pipe, a character device."""
    cdef ssize_t count
    while True:
        count = posix_read(fd, buffer_of_all, BUFFER_SIZE)
        if count >= 0:
            return PyBytes_FromStringAndSize(buffer_of_all, count)
        if not again():
            return None


cpdef int unread(int fd) except -1:
    """How many bytes wait in a pipe, ioctl(2) FIONREAD."""
    cdef int count = 0
    if ioctl(fd, FIONREAD, &count) < 0:
        PyErr_SetFromErrno(OSError)
    return count


cpdef Py_ssize_t write(int fd, data) except -2:
    """``send`` for what need not be a socket."""
    cdef Py_buffer view
    cdef ssize_t count
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        while True:
            count = posix_write(fd, view.buf, view.len)
            if count >= 0:
                return count
            if not again():
                return -1
    finally:
        PyBuffer_Release(&view)


cpdef Py_ssize_t write_many(int fd, list chunks) except -2:
    """``send_many`` for what need not be a socket."""
    cdef Vectors vectors
    cdef ssize_t count
    try:
        gather(&vectors, chunks)
        while True:
            count = writev(fd, vectors.pieces, vectors.count)
            if count >= 0:
                return count
            if not again():
                return -1
    finally:
        release(&vectors)
