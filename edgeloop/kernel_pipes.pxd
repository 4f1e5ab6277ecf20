cpdef read(int fd)
cpdef int unread(int fd) except -1
cpdef Py_ssize_t write(int fd, data) except -2
cpdef Py_ssize_t write_many(int fd, list chunks) except -2
