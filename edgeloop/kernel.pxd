cdef int EPOLL_READ
cdef int EPOLL_WRITE
cdef int EPOLL_HANGUP
cdef int EPOLL_EDGE
cdef int INTEREST_READ
cdef int INTEREST_WRITE
cdef int INTEREST_HANGUP
cdef Py_ssize_t READ_SIZE
cdef Py_ssize_t MOST_CHUNKS

cdef class Poller:
    cdef int _fd
    cdef bint _coarse
    cdef int _size
    cdef void* _events
    cdef int* fds
    cdef int* masks
    cpdef add(self, int fd, int mask)
    cpdef modify(self, int fd, int mask)
    cpdef refresh(self, int fd, int mask)
    cpdef remove(self, int fd)
    cpdef int wait(self, double timeout) except -1
    cpdef close(self)

cpdef double now() noexcept
cpdef int wake(int fd) except -1
cpdef recv(int fd)
cpdef Py_ssize_t recv_into(int fd, buffer) except -2
cpdef Py_ssize_t send(int fd, data) except -2
cpdef Py_ssize_t send_many(int fd, list chunks) except -2
cpdef read(int fd)
cpdef int unread(int fd) except -1
cpdef Py_ssize_t write(int fd, data) except -2
cpdef Py_ssize_t write_many(int fd, list chunks) except -2
cpdef local_address(int fd)
cdef object address_of(int fd, void* name, unsigned int length, bint peer)
cpdef accept(listening)
cpdef close(int fd)
cdef object copy_context()
cdef Py_ssize_t SPARE_HANDLES
cdef bint is_this_thread(thread_id) except -1
cdef bint unshared(object) noexcept
cdef object call(context, callback, tuple args)
cdef object call_none(context, callback)
cdef object call_one(context, callback, argument)
cpdef attributes_on_demand(owner)
cpdef check_signals()
