cdef int MAX_DATAGRAMS

cpdef list recv_datagrams(int fd, int family, sock)
cpdef bint send_datagram(int fd, int family, sock, bytes data, address) except -1
cpdef tuple send_datagrams(int fd, int family, sock, list messages, Py_ssize_t first)
