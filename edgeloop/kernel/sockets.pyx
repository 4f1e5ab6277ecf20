"""The system calls on stream sockets, and their addresses. ``sockets.py`` is the pure edition; it says what callers rely on.

The calls hold the GIL, because releasing it costs more than the call. So none may block. They use the descriptor, and ignore
the socket object.
"""

from cpython.buffer cimport PyBUF_FULL_RO, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.ref cimport PyObject, Py_XDECREF
from libc.errno cimport (
    EAGAIN, EBADF, ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINTR, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENOMEM,
    ENOPROTOOPT, EOPNOTSUPP, EPERM, EPROTO, errno,
)
from libc.string cimport memset
from posix.fcntl cimport F_GETFL, O_NONBLOCK, fcntl
from posix.unistd cimport close

from edgeloop.kernel.calls cimport BUFFER_SIZE, again
from edgeloop.kernel.interpreter cimport has_company
from edgeloop.kernel.headers cimport (
    AF_INET, AF_INET6, AF_UNIX, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_NONBLOCK, accept4, c_recv, c_send, getsockname, inet_ntop, iovec, msghdr, ntohl, ntohs, recvmsg, sendmsg, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, sockaddr_un, socklen_t,
)
from edgeloop.kernel.vectors cimport Vectors, gather, release

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* descriptors, unsigned long count, int timeout)
    int POLLIN

cdef extern from "Python.h":
    bint PyMemoryView_Check(object thing)
    Py_buffer* PyMemoryView_GET_BUFFER(object view)
    bint PyByteArray_CheckExact(object thing)
    Py_ssize_t PyByteArray_GET_SIZE(object array)
    PyObject* PyBytes_FromStringAndSize_unfilled "PyBytes_FromStringAndSize" (const char* data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject** data, Py_ssize_t size) except -1

import os
import socket

# Shared by every loop of the process. It is used only with the GIL held, from recv(2) to the copy of the data.
cdef char buffer_of_all[BUFFER_SIZE]

exhausted = frozenset((EMFILE, ENFILE, ENOBUFS, ENOMEM))
"""The errno values of accept(2) that leave the connection in the queue (rule 6)."""


cpdef recv(int fd, sock):
    """Read at most READ_SIZE bytes. Return ``b""`` at the end of the stream, None if the call would block."""
    cdef ssize_t count
    while True:
        count = c_recv(fd, buffer_of_all, BUFFER_SIZE, MSG_DONTWAIT)
        if count >= 0:
            return PyBytes_FromStringAndSize(buffer_of_all, count)
        if not again():
            return None


cpdef recv_large(int fd, sock):
    """``recv`` for a peer that sends much: read into the bytes object itself, and shrink that. No copy is made."""
    cdef ssize_t count
    cdef PyObject* data = PyBytes_FromStringAndSize_unfilled(NULL, BUFFER_SIZE)
    try:
        while True:
            count = c_recv(fd, PyBytes_AS_STRING(<object>data), BUFFER_SIZE, MSG_DONTWAIT)
            if count >= 0:
                _PyBytes_Resize(&data, count)  # sets data to NULL where it raises
                return <object>data
            if not again():
                return None
    finally:
        Py_XDECREF(data)


cpdef Py_ssize_t recv_into(int fd, sock, buffer) except -2:
    """Read into a writable buffer. Return the count, 0 at the end of the stream, -1 if the call would block."""
    cdef Py_buffer view
    cdef ssize_t count
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    try:
        while True:
            count = c_recv(fd, view.buf, view.len, MSG_DONTWAIT)
            if count >= 0:
                return count
            if not again():
                return -1
    finally:
        PyBuffer_Release(&view)


cpdef closed_by_owner():
    """Return the OSError (EBADF) of a socket that its owner has closed. Its number may name another file by now (rule 9)."""
    return OSError(EBADF, os.strerror(EBADF))


cpdef Py_ssize_t byte_size(buffer) except -1:
    """Return the number of bytes in a buffer, whatever the size of its items."""
    cdef Py_buffer view
    if PyByteArray_CheckExact(buffer):
        return PyByteArray_GET_SIZE(buffer)
    if PyMemoryView_Check(buffer):
        len(buffer)  # ValueError if it was released
        return PyMemoryView_GET_BUFFER(buffer).len
    PyObject_GetBuffer(buffer, &view, PyBUF_FULL_RO)
    try:
        return view.len
    finally:
        PyBuffer_Release(&view)


cdef Py_ssize_t recv_flagged(int fd, msghdr* message) except -2:
    """recvmsg(2). Return the count, 0 at the end of the stream, -1 if the call would block."""
    cdef ssize_t count
    while True:
        count = recvmsg(fd, message, MSG_DONTWAIT)
        if count >= 0:
            return count
        if not again():
            return -1


cdef void into(msghdr* message, iovec* piece, void* buffer, Py_ssize_t size) noexcept:
    # There is no buffer for control messages. So the kernel closes descriptors that arrive, and sets MSG_CTRUNC, also for
    # a writer's credentials (SO_PASSCRED, unix(7)). Both end a read (rule 2).
    memset(message, 0, sizeof(msghdr))
    piece.iov_base = buffer
    piece.iov_len = size
    message.msg_iov = piece
    message.msg_iovlen = 1


cpdef recv_message(int fd, sock):
    """``recv`` on a Unix socket. Return the data, in a tuple if a short read may have left some, or None if it would block."""
    cdef msghdr message
    cdef iovec piece
    into(&message, &piece, buffer_of_all, BUFFER_SIZE)
    cdef Py_ssize_t count = recv_flagged(fd, &message)
    if count < 0:
        return None
    data = PyBytes_FromStringAndSize(buffer_of_all, count)  # before the tuple: that may start a collection, which runs any code
    return (data,) if message.msg_flags & MSG_CTRUNC else data


cpdef recv_message_into(int fd, sock, buffer):
    """``recv_into`` on a Unix socket. Return the count, -1 if it would block, and True if a short read may have left some."""
    cdef msghdr message
    cdef iovec piece
    cdef Py_buffer view
    cdef Py_ssize_t count
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    try:
        into(&message, &piece, view.buf, view.len)
        count = recv_flagged(fd, &message)
    finally:
        PyBuffer_Release(&view)
    return count, message.msg_flags & MSG_CTRUNC != 0


cpdef object_for(int fd, sock, int family):
    """Return ``sock``, which may be None: the calls need the descriptor only."""
    return sock


cpdef Py_ssize_t send(int fd, sock, data) except -2:
    """Write from a buffer. Return the count, -1 if the call would block."""
    cdef Py_buffer view
    if type(data) is bytes:
        return send_piece(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return send_piece(fd, view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef inline Py_ssize_t send_piece(int fd, const void* data, Py_ssize_t size) except -2:
    cdef ssize_t count
    while True:
        count = c_send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if count >= 0:
            return count
        if not again():
            return -1


cpdef Py_ssize_t send_many(int fd, sock, list chunks) except -2:
    """Write the first IOV_MAX of the buffers in one call. Return the count, -1 if the call would block."""
    cdef Vectors vectors
    cdef msghdr message
    cdef ssize_t count
    memset(&message, 0, sizeof(message))
    try:
        gather(&vectors, chunks)
        message.msg_iov = vectors.pieces
        message.msg_iovlen = vectors.count
        while True:
            count = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
            if count >= 0:
                return count
            if not again():
                return -1
    finally:
        release(&vectors)


cpdef local_address(int fd):
    """Return the address that a socket is bound to, in the form of the socket module."""
    cdef sockaddr_storage address
    cdef socklen_t length = sizeof(address)
    if getsockname(fd, <sockaddr*>&address, &length) < 0:
        PyErr_SetFromErrno(OSError)
    return address_of(fd, &address, length, False)


cdef object address_of(int fd, void* name, unsigned int length, bint peer):
    """Return the address in the form of the socket module. The socket itself is asked for families unknown here."""
    cdef char text[64]
    cdef sockaddr_storage* address = <sockaddr_storage*>name
    cdef sockaddr_in* four = <sockaddr_in*>address
    cdef sockaddr_in6* six = <sockaddr_in6*>address
    cdef sockaddr_un* local = <sockaddr_un*>address
    cdef Py_ssize_t path
    if address.ss_family == AF_INET:
        inet_ntop(AF_INET, &four.sin_addr, text, sizeof(text))
        return (text.decode("ascii"), ntohs(four.sin_port))
    if address.ss_family == AF_INET6:
        inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text))
        return (text.decode("ascii"), ntohs(six.sin6_port), ntohl(six.sin6_flowinfo), six.sin6_scope_id)
    if address.ss_family == AF_UNIX:
        path = length - 2  # the length includes the family field, unix(7)
        if path <= 0:
            return ""
        if local.sun_path[0] == 0:
            return <bytes>local.sun_path[:path]  # an abstract name, in which NUL bytes count
        return os.fsdecode((<bytes>local.sun_path[:path]).partition(b"\0")[0])  # no NUL ends a path of 108 bytes
    probe = socket.socket(fileno=os.dup(fd))
    with probe:
        return probe.getpeername() if peer else probe.getsockname()


cdef bint blocks(int listener) noexcept:
    # Return True if accept(2) would block. It holds the GIL, which the thread that is to connect may need.
    cdef pollfd asked
    cdef int flags = fcntl(listener, F_GETFL)
    if flags < 0 or flags & O_NONBLOCK:
        return False
    asked.fd = listener
    asked.events = POLLIN
    return poll(&asked, 1, 0) == 0


cpdef accept(listening):
    """Accept a connection. Return (fd, peer address), or None if none waits.

    The caller owns the fd, which is non-blocking and close-on-exec.
    """
    cdef sockaddr_storage address
    cdef socklen_t length
    cdef int fd
    cdef int listener = listening.fileno()
    if has_company() and blocks(listener):
        return None
    while True:
        length = sizeof(address)
        fd = accept4(listener, <sockaddr*>&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            try:
                return fd, address_of(fd, &address, length, True)
            except BaseException:
                close(fd)
                raise
        if errno == EAGAIN:
            return None
        if errno == EINTR:
            PyErr_CheckSignals()
        elif errno not in (ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, EPERM):
            # accept(2): Linux returns the pending errors of the new socket. That connection is gone, others may wait.
            PyErr_SetFromErrno(OSError)
