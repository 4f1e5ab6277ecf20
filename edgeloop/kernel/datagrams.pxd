cdef int MAX_DATAGRAMS

cpdef list recv_datagrams(int fd, int family, sock)
cpdef bint send_datagram(int fd, int family, sock, bytes data, address) except -1
cpdef bint is_plain(int family, address) noexcept
cpdef tuple send_datagrams(int fd, int family, sock, list messages, Py_ssize_t first)
cpdef tuple recv_segments(int fd, int family, sock)
cpdef tuple send_segments(int fd, int family, sock, list messages, Py_ssize_t first)
cpdef bint can_segment(sock) except -1
cpdef bint coalesce(sock) except -1
