from edgeloop.kernel.headers cimport iovec, msghdr

cpdef recv(int fd, sock)
cpdef recv_large(int fd, sock)
cpdef Py_ssize_t recv_into(int fd, sock, buffer) except -2
cpdef closed_by_owner()
cpdef Py_ssize_t byte_size(buffer) except -1
cdef Py_ssize_t recv_flagged(int fd, msghdr* message) except -2
cdef void into(msghdr* message, iovec* piece, void* buffer, Py_ssize_t size) noexcept
cpdef recv_message(int fd, sock)
cpdef recv_message_into(int fd, sock, buffer)
cpdef object_for(int fd, sock, int family)
cpdef Py_ssize_t send(int fd, sock, data) except -2
cdef Py_ssize_t send_piece(int fd, const void* data, Py_ssize_t size) except -2
cpdef Py_ssize_t send_many(int fd, sock, list chunks) except -2
cpdef local_address(int fd)
cdef object address_of(int fd, void* name, unsigned int length, bint peer)
cdef bint blocks(int listener) noexcept
cpdef accept(listening)
