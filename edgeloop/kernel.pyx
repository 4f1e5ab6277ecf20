"""The system calls of the compiled edition, and the two interpreter calls that C makes cheaper.

``kernel.py`` is the same interface for the pure edition: same names, same return values, same exceptions. Only this
room knows errno values; what a caller has to handle is either a documented return value or an OSError.

Non-blocking calls are made with the GIL held, because releasing it costs more than the call; only an epoll_wait that
may sleep releases it.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.ref cimport PyObject
from libc.errno cimport (
    EAGAIN, EBADF, ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINTR, EIO, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS,
    ENOENT, ENOMEM, ENOPROTOOPT, ENOSYS, EOPNOTSUPP, EPERM, EPROTO, errno,
)
from libc.math cimport ceil
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport write as posix_write

import os
import socket

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    uint32_t EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    int accept4(int fd, sockaddr* address, socklen_t* length, int flags)
    int getsockname(int fd, sockaddr* address, socklen_t* length)
    ssize_t c_recv "recv" (int fd, void* buffer, size_t size, int flags)
    ssize_t c_send "send" (int fd, const void* buffer, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int SOCK_NONBLOCK, SOCK_CLOEXEC, MSG_NOSIGNAL, AF_INET, AF_INET6, AF_UNIX

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        unsigned short sin_port
        in_addr sin_addr
    struct in6_addr:
        pass
    struct sockaddr_in6:
        unsigned short sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    unsigned short ntohs(unsigned short value)
    uint32_t ntohl(uint32_t value)

cdef extern from "<sys/un.h>" nogil:
    struct sockaddr_un:
        char sun_path[108]

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* address, char* text, socklen_t size)

cdef extern from "<unistd.h>" nogil:
    int c_close "close" (int fd)
    ssize_t c_read "read" (int fd, void* buffer, size_t size)

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, int* value)
    unsigned long FIONREAD

cdef extern from "<sys/uio.h>" nogil:
    ssize_t c_writev "writev" (int fd, const iovec* vectors, int count)

cdef extern from *:
    """
    #include <sys/epoll.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    #ifndef SYS_epoll_pwait2
    #define SYS_epoll_pwait2 441  /* the same number on every architecture: all calls since 424 are */
    #endif

    static int edgeloop_epoll_pwait2(int epfd, struct epoll_event *events, int most, struct timespec *timeout) {
        /* The kernel wants its own 64-bit timespec, which is the C library's wherever long has 64 bits. */
        return (int)syscall(SYS_epoll_pwait2, epfd, events, most, timeout, NULL, 0);
    }

    /* Each context.run() from C: the same steps as Context.run, without building the call. */
    static PyObject *edgeloop_call(PyObject *context, PyObject *callback, PyObject *const *args, size_t count) {
        if (PyContext_Enter(context)) return NULL;
        PyObject *result = PyObject_Vectorcall(callback, args, count, NULL);
        if (PyContext_Exit(context)) { Py_XDECREF(result); return NULL; }
        return result;
    }
    static PyObject *edgeloop_call_tuple(PyObject *context, PyObject *callback, PyObject *args) {
        return edgeloop_call(context, callback, ((PyTupleObject *)args)->ob_item, (size_t)PyTuple_GET_SIZE(args));
    }
    static PyObject *edgeloop_call_one(PyObject *context, PyObject *callback, PyObject *argument) {
        PyObject *slots[2] = {NULL, argument};  /* the spare slot lets a bound method put its self there */
        return edgeloop_call(context, callback, slots + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET);
    }
    static PyObject *edgeloop_call_none(PyObject *context, PyObject *callback) {
        PyObject *slots[1] = {NULL};
        return edgeloop_call(context, callback, slots + 1, 0 | PY_VECTORCALL_ARGUMENTS_OFFSET);
    }
    static void edgeloop_drop_dict(PyObject *object) {
        Py_ssize_t offset = Py_TYPE(object)->tp_dictoffset;
        if (offset > 0) Py_CLEAR(*(PyObject **)((char *)object + offset));
    }

    /* Whether the interpreter has other threads, who may be waiting for it. */
    static int edgeloop_has_company(void) {
        PyThreadState *own = PyThreadState_Get();
        return own->next != NULL || own->prev != NULL;
    }

    /* Whether the caller's variable is the only thing that leads to the object, which a weak reference would do too. */
    static int edgeloop_unshared(PyObject *object) {
        return Py_REFCNT(object) == 1 && !*(PyObject **)((char *)object + Py_TYPE(object)->tp_weaklistoffset);
    }
    """
    bint edgeloop_unshared(object object)
    bint edgeloop_has_company()
    unsigned long PyThread_get_thread_ident()
    int edgeloop_epoll_pwait2(int epfd, epoll_event* events, int most, timespec* timeout) nogil
    object edgeloop_call_tuple(object context, object callback, object args)
    object edgeloop_call_one(object context, object callback, object argument)
    object edgeloop_call_none(object context, object callback)
    void edgeloop_drop_dict(object)
    object PyContext_CopyCurrent()

EPOLL_READ = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR
EPOLL_WRITE = EPOLLOUT | EPOLLHUP | EPOLLERR
EPOLL_HANGUP = EPOLLRDHUP | EPOLLHUP | EPOLLERR
EPOLL_EDGE = <int>EPOLLET
INTEREST_READ = EPOLLIN | EPOLLRDHUP
INTEREST_WRITE = EPOLLOUT
INTEREST_HANGUP = EPOLLRDHUP  # HUP and ERR are told unasked
READ_SIZE = 262144
MOST_CHUNKS = 1024  # IOV_MAX
SPARE_HANDLES = 1024  # kept by a loop; the free list that Cython knows is not to be had from a .pxd

# One turn's events; the kernel keeps what does not fit and gives it next time, the longest waiting first.
cdef enum:
    MOST_EVENTS = 1024
    VECTOR_SIZE = 1024
    BUFFER_SIZE = 262144

# Shared by every loop of the process: it is only used with the GIL held, between a recv and the copy of what came.
cdef char buffer_of_all[BUFFER_SIZE]

exhausted = frozenset((EMFILE, ENFILE, ENOBUFS, ENOMEM))
"""The errno values of accept(2) that mean: not now, but the connection waits on."""

terminal_gone = EIO
"""The errno of read(2) on a terminal whose other side was closed: its way to say end of file."""


cdef bint closed_by_its_owner(int error) noexcept:
    # Closed without a word to us, the number names another file (one that epoll may refuse) or none: the kernel has
    # dropped what was registered already.
    return error == ENOENT or error == EBADF or error == EPERM


cdef class Poller:
    """An epoll set; ``wait`` leaves what the kernel said in ``fds`` and ``masks``."""

    def __cinit__(self):
        self._fd = -1
        self._size = MOST_EVENTS
        self._events = malloc(MOST_EVENTS * sizeof(epoll_event))
        self.fds = <int*>malloc(MOST_EVENTS * sizeof(int))
        self.masks = <int*>malloc(MOST_EVENTS * sizeof(int))
        if self._events == NULL or self.fds == NULL or self.masks == NULL:
            raise MemoryError
        self._fd = epoll_create1(EPOLL_CLOEXEC)
        if self._fd < 0:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self._fd >= 0:
            c_close(self._fd)
        free(self._events)
        free(self.fds)
        free(self.masks)

    def fileno(self):
        return self._fd

    cpdef add(self, int fd, int mask):
        cdef epoll_event event
        event.events = <uint32_t>mask
        event.data.u64 = <uint64_t>fd
        if epoll_ctl(self._fd, EPOLL_CTL_ADD, fd, &event) < 0:
            PyErr_SetFromErrno(OSError)

    cpdef modify(self, int fd, int mask):
        cdef epoll_event event
        event.events = <uint32_t>mask
        event.data.u64 = <uint64_t>fd
        if epoll_ctl(self._fd, EPOLL_CTL_MOD, fd, &event) < 0:
            PyErr_SetFromErrno(OSError)

    cpdef refresh(self, int fd, int mask):
        """As ``modify``, for a descriptor that its owner may have closed: then nothing happens."""
        cdef epoll_event event
        event.events = <uint32_t>mask
        event.data.u64 = <uint64_t>fd
        if epoll_ctl(self._fd, EPOLL_CTL_MOD, fd, &event) < 0 and not closed_by_its_owner(errno):
            PyErr_SetFromErrno(OSError)

    cpdef remove(self, int fd):
        cdef epoll_event event
        if epoll_ctl(self._fd, EPOLL_CTL_DEL, fd, &event) < 0 and not closed_by_its_owner(errno):
            PyErr_SetFromErrno(OSError)

    cpdef int wait(self, double timeout) except -1:
        cdef int count, error, i
        cdef int milliseconds
        cdef timespec limit
        cdef epoll_event* events = <epoll_event*>self._events
        if timeout == 0 and not edgeloop_has_company():
            count = epoll_wait(self._fd, events, self._size, 0)
            error = errno
        elif timeout == 0:
            # A busy loop that never let go would have each of the others wait for sys.getswitchinterval().
            with nogil:
                count = epoll_wait(self._fd, events, self._size, 0)
                error = errno
        elif timeout < 0:
            with nogil:
                count = epoll_wait(self._fd, events, self._size, -1)
                error = errno
        else:
            if timeout > 86400:
                timeout = 86400  # as the stdlib: wake once a day rather than overflow a time field
            if not self._coarse:
                limit.tv_sec = <long>timeout
                limit.tv_nsec = <long>ceil((timeout - limit.tv_sec) * 1e9)
                if limit.tv_nsec >= 1000000000:
                    limit.tv_sec += 1
                    limit.tv_nsec = 0
                with nogil:
                    count = edgeloop_epoll_pwait2(self._fd, events, self._size, &limit)
                    error = errno
                # Before Linux 5.11 there is no such call; a sandbox's filter may answer EPERM for one it doesn't know.
                if count < 0 and (error == ENOSYS or error == EPERM):
                    self._coarse = True
            if self._coarse:
                milliseconds = <int>ceil(timeout * 1e3)
                with nogil:
                    count = epoll_wait(self._fd, events, self._size, milliseconds)
                    error = errno
        if count < 0:
            if error != EINTR:
                (&errno)[0] = error
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
            return 0
        for i in range(count):
            self.fds[i] = events[i].data.fd
            self.masks[i] = <int>events[i].events
        return count

    cpdef close(self):
        if self._fd >= 0:
            c_close(self._fd)
            self._fd = -1


cpdef double now() noexcept:
    """CLOCK_MONOTONIC in seconds: the clock of time.monotonic()."""
    cdef timespec moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return moment.tv_sec + moment.tv_nsec * 1e-9


cpdef attributes_on_demand(owner):
    """Give the object its ``__dict__`` when somebody sets an attribute on it, not before.

    Cython makes one for each object of a class that declares it. Few ever need it, it takes memory, and the interpreter
    finds methods faster where there is none.
    """
    edgeloop_drop_dict(owner)


cpdef check_signals():
    """Run the Python handlers of the signals that came: compiled code passes none of the interpreter's own checks."""
    PyErr_CheckSignals()


cpdef int wake(int fd) except -1:
    """Add one to an eventfd: a new edge each time, so that nobody has to read it."""
    cdef uint64_t one = 1
    if posix_write(fd, &one, sizeof(one)) < 0 and errno != EAGAIN:
        PyErr_SetFromErrno(OSError)
    return 0


cpdef recv(int fd):
    """Read at most READ_SIZE bytes: ``b""`` at the end of the stream, None if the call would block."""
    cdef ssize_t count
    while True:
        count = c_recv(fd, buffer_of_all, BUFFER_SIZE, 0)
        if count >= 0:
            return PyBytes_FromStringAndSize(buffer_of_all, count)
        if errno == EAGAIN:
            return None
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
        PyErr_CheckSignals()


cpdef Py_ssize_t recv_into(int fd, buffer) except -2:
    """Read into a writable buffer: the count, 0 at the end of the stream, -1 if the call would block."""
    cdef Py_buffer view
    cdef ssize_t count
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    try:
        while True:
            count = c_recv(fd, view.buf, view.len, 0)
            if count >= 0:
                return count
            if errno == EAGAIN:
                return -1
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
    finally:
        PyBuffer_Release(&view)


cpdef Py_ssize_t send(int fd, data) except -2:
    """Write from a buffer: the count, -1 if the call would block."""
    cdef Py_buffer view
    cdef ssize_t count
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        while True:
            count = c_send(fd, view.buf, view.len, MSG_NOSIGNAL)
            if count >= 0:
                return count
            if errno == EAGAIN:
                return -1
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
    finally:
        PyBuffer_Release(&view)


cpdef Py_ssize_t send_many(int fd, list chunks) except -2:
    """Write the first IOV_MAX of the buffers in one call: the count, -1 if the call would block."""
    cdef Py_buffer views[VECTOR_SIZE]
    cdef iovec vectors[VECTOR_SIZE]
    cdef msghdr message
    cdef ssize_t count
    cdef int taken = 0
    memset(&message, 0, sizeof(message))
    try:
        for chunk in chunks:
            if taken == VECTOR_SIZE:
                break
            PyObject_GetBuffer(chunk, &views[taken], PyBUF_SIMPLE)
            vectors[taken].iov_base = views[taken].buf
            vectors[taken].iov_len = views[taken].len
            taken += 1
        message.msg_iov = vectors
        message.msg_iovlen = taken
        while True:
            count = sendmsg(fd, &message, MSG_NOSIGNAL)
            if count >= 0:
                return count
            if errno == EAGAIN:
                return -1
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
    finally:
        while taken:
            taken -= 1
            PyBuffer_Release(&views[taken])


cpdef read(int fd):
    """``recv`` for what need not be a socket: a pipe, a character device."""
    cdef ssize_t count
    while True:
        count = c_read(fd, buffer_of_all, BUFFER_SIZE)
        if count >= 0:
            return PyBytes_FromStringAndSize(buffer_of_all, count)
        if errno == EAGAIN:
            return None
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
        PyErr_CheckSignals()


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
            if errno == EAGAIN:
                return -1
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
    finally:
        PyBuffer_Release(&view)


cpdef Py_ssize_t write_many(int fd, list chunks) except -2:
    """``send_many`` for what need not be a socket."""
    cdef Py_buffer views[VECTOR_SIZE]
    cdef iovec vectors[VECTOR_SIZE]
    cdef ssize_t count
    cdef int taken = 0
    try:
        for chunk in chunks:
            if taken == VECTOR_SIZE:
                break
            PyObject_GetBuffer(chunk, &views[taken], PyBUF_SIMPLE)
            vectors[taken].iov_base = views[taken].buf
            vectors[taken].iov_len = views[taken].len
            taken += 1
        while True:
            count = c_writev(fd, vectors, taken)
            if count >= 0:
                return count
            if errno == EAGAIN:
                return -1
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
    finally:
        while taken:
            taken -= 1
            PyBuffer_Release(&views[taken])


cpdef local_address(int fd):
    """The address a socket is bound to, in the form the socket module gives it."""
    cdef sockaddr_storage address
    cdef socklen_t length = sizeof(address)
    if getsockname(fd, <sockaddr*>&address, &length) < 0:
        PyErr_SetFromErrno(OSError)
    return address_of(fd, &address, length, False)


cdef object address_of(int fd, void* name, unsigned int length, bint peer):
    """The address in the form the socket module gives it."""
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
        path = length - 2  # unix(7): the length counts the family field
        if path <= 0:
            return ""
        if local.sun_path[0] == 0:
            return <bytes>local.sun_path[:path]  # the abstract name space, where NUL bytes are part of the name
        return os.fsdecode((<bytes>local.sun_path[:path]).partition(b"\0")[0])  # 108 bytes need not end in a NUL
    probe = socket.socket(fileno=os.dup(fd))
    with probe:
        return probe.getpeername() if peer else probe.getsockname()


cpdef accept(listening):
    """Take the next connection: (fd, peer address), or None if no more wait. The fd is non-blocking, close-on-exec."""
    cdef sockaddr_storage address
    cdef socklen_t length
    cdef int fd
    cdef int listener = listening.fileno()
    while True:
        length = sizeof(address)
        fd = accept4(listener, <sockaddr*>&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            try:
                return fd, address_of(fd, &address, length, True)
            except BaseException:
                c_close(fd)
                raise
        if errno == EAGAIN:
            return None
        if errno == EINTR:
            PyErr_CheckSignals()
        elif errno not in (ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, EPERM):
            # accept(2): Linux passes errors that wait on the new socket to the accepting one; that connection is gone.
            PyErr_SetFromErrno(OSError)


cpdef close(int fd):
    """Close a descriptor. After EINTR Linux has closed it all the same, close(2)."""
    if c_close(fd) < 0 and errno != EINTR:
        PyErr_SetFromErrno(OSError)


cdef object copy_context():
    return PyContext_CopyCurrent()


cdef bint is_this_thread(thread_id) except -1:
    return thread_id is not None and <unsigned long>thread_id == PyThread_get_thread_ident()


cdef bint unshared(object) noexcept:
    return edgeloop_unshared(object)


cdef object call(context, callback, tuple args):
    return edgeloop_call_tuple(context, callback, args)


cdef object call_none(context, callback):
    return edgeloop_call_none(context, callback)


cdef object call_one(context, callback, argument):
    return edgeloop_call_one(context, callback, argument)
