cpdef tuple recv_segments(int fd, int family, sock)
cpdef tuple send_segments(int fd, int family, sock, list messages, Py_ssize_t first)
cpdef bint can_segment(sock) except -1
cpdef bint coalesce(sock) except -1
