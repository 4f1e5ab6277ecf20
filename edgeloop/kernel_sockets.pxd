cpdef recv(int fd)
cpdef recv_large(int fd)
cpdef Py_ssize_t recv_into(int fd, buffer) except -2
cpdef Py_ssize_t send(int fd, data) except -2
cdef Py_ssize_t send_piece(int fd, const void* data, Py_ssize_t size) except -2
cpdef Py_ssize_t send_many(int fd, list chunks) except -2
cpdef local_address(int fd)
cdef object address_of(int fd, void* name, unsigned int length, bint peer)
cpdef accept(listening)
