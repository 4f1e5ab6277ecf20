"""The system calls on pipes and character devices. ``pipes.py`` is the pure edition, and says what callers may rely on.

The calls hold the GIL, because releasing it costs more than the call. Only a read or write after poll(2) releases it.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EINVAL, EIO, ENOSYS, EOPNOTSUPP, EPERM, errno
from posix.fcntl cimport F_GETFL, O_NONBLOCK, fcntl
from posix.unistd cimport read as posix_read
from posix.unistd cimport write as posix_write

from edgeloop.kernel.calls cimport BUFFER_SIZE, again
from edgeloop.kernel.headers cimport iovec
from edgeloop.kernel.vectors cimport Vectors, gather, release

import os

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, int* value)
    unsigned long FIONREAD

cdef extern from "<sys/uio.h>" nogil:
    ssize_t writev(int fd, const iovec* vectors, int count)

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* files, unsigned long count, int timeout)
    short POLLIN, POLLOUT

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/syscall.h>
    #include <sys/uio.h>
    #include <unistd.h>
    #ifndef RWF_NOWAIT
    #define RWF_NOWAIT 0x00000008
    #endif

    /* musl has wrappers for these from 1.2.5 on only. The offset -1 means the file's own position. */
    static ssize_t edgeloop_readv_nowait(int fd, const struct iovec *vectors, int count) {
    #ifdef SYS_preadv2
        return (ssize_t)syscall(SYS_preadv2, fd, vectors, (long)count, -1L, -1L, RWF_NOWAIT);
    #else
        errno = ENOSYS;
        return -1;
    #endif
    }
    static ssize_t edgeloop_writev_nowait(int fd, const struct iovec *vectors, int count) {
    #ifdef SYS_pwritev2
        return (ssize_t)syscall(SYS_pwritev2, fd, vectors, (long)count, -1L, -1L, RWF_NOWAIT);
    #else
        errno = ENOSYS;
        return -1;
    #endif
    }
    """
    ssize_t readv_nowait "edgeloop_readv_nowait" (int fd, const iovec* vectors, int count) nogil
    ssize_t writev_nowait "edgeloop_writev_nowait" (int fd, const iovec* vectors, int count) nogil

cdef enum:
    POLLED_SIZE = 65536  # of a read after poll(2): the capacity of a pipe, by default
    # What a write after POLLOUT may have without blocking: PIPE_BUF bytes in a pipe, pipe(7), far less in a terminal.
    WRITE_SIZE = 4096
    DEVICE_WRITE_SIZE = 256

# Shared by every loop of the process. It is used only with the GIL held, from read(2) to the copy of the data.
cdef char buffer_of_all[BUFFER_SIZE]

terminal_gone = EIO
"""The errno of read(2) on a terminal whose other side is closed. It means end of file."""


cdef bint refused(int error) noexcept:
    # The file, the kernel or a sandbox does not allow RWF_NOWAIT.
    return error == EOPNOTSUPP or error == ENOSYS or error == EINVAL or error == EPERM


cdef bint blocks(int fd) except -1:
    cdef int flags = fcntl(fd, F_GETFL)
    if flags < 0:
        PyErr_SetFromErrno(OSError)
    return not flags & O_NONBLOCK


cdef bint is_ready(int fd, short event) noexcept:
    cdef pollfd file
    file.fd = fd
    file.events = event
    file.revents = 0
    return poll(&file, 1, 0) > 0


cpdef read(int fd, bint device):
    """Read at most READ_SIZE bytes. Return ``b""`` at the end of the file, None if the call would block."""
    cdef ssize_t count
    cdef iovec piece
    cdef bint plain = device
    if not plain:
        piece.iov_base = buffer_of_all
        piece.iov_len = BUFFER_SIZE
    while True:
        if not plain:
            count = readv_nowait(fd, &piece, 1)
            if count < 0 and refused(errno):
                plain = True
                continue
        elif blocks(fd):
            return poll_and_read(fd)
        else:
            count = posix_read(fd, buffer_of_all, BUFFER_SIZE)
        if count >= 0:
            return PyBytes_FromStringAndSize(buffer_of_all, count)
        if not again():
            return None


cdef object poll_and_read(int fd):
    # Read from a file that is set to block and refuses RWF_NOWAIT.
    cdef ssize_t count
    cdef bytes data
    cdef char* place
    while True:
        if not is_ready(fd, POLLIN):
            return None
        data = PyBytes_FromStringAndSize(NULL, POLLED_SIZE)  # not buffer_of_all, which other threads may use meanwhile
        place = PyBytes_AS_STRING(data)
        with nogil:
            count = posix_read(fd, place, POLLED_SIZE)
        if count >= 0:
            return data[:count]
        if not again():
            return None


cpdef int unread(int fd) except -1:
    """Return the number of bytes in a pipe, ioctl(2) FIONREAD."""
    cdef int count = 0
    if ioctl(fd, FIONREAD, &count) < 0:
        PyErr_SetFromErrno(OSError)
    return count


cpdef Py_ssize_t write(int fd, bint device, data) except -2:
    """Write from a buffer. Return the count, -1 if the call would block."""
    cdef Py_buffer view
    cdef iovec piece
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        piece.iov_base = view.buf
        piece.iov_len = view.len
        return write_pieces(fd, device, &piece, 1)
    finally:
        PyBuffer_Release(&view)


cpdef Py_ssize_t write_many(int fd, bint device, list chunks) except -2:
    """Write the first IOV_MAX of the buffers in one call. Return the count, -1 if the call would block."""
    cdef Vectors vectors
    try:
        gather(&vectors, chunks)
        return write_pieces(fd, device, vectors.pieces, vectors.count)
    finally:
        release(&vectors)


cdef Py_ssize_t write_pieces(int fd, bint device, iovec* pieces, int count) except -2:
    # The caller keeps the buffers of the pieces alive: the GIL may be released.
    cdef ssize_t written
    cdef size_t size
    cdef bint plain = device
    while True:
        if not plain:
            written = writev_nowait(fd, pieces, count)
            if written < 0 and refused(errno):
                plain = True
                continue
        elif not blocks(fd):
            written = writev(fd, pieces, count)
        elif count == 0 or not is_ready(fd, POLLOUT):
            return -1
        else:
            size = min(pieces[0].iov_len, <size_t>(DEVICE_WRITE_SIZE if device else WRITE_SIZE))
            with nogil:
                written = posix_write(fd, pieces[0].iov_base, size)
        if written >= 0:
            return written
        if not again():
            return -1
