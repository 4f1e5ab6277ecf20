cpdef read(int fd, bint device)
cpdef int unread(int fd) except -1
cpdef Py_ssize_t write(int fd, bint device, data) except -2
cpdef Py_ssize_t write_many(int fd, bint device, list chunks) except -2
