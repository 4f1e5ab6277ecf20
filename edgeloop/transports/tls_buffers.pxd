
cdef class ReadBuffers:
    cdef Py_ssize_t depth
    cdef readonly object plain
    cdef list _levels
    cdef cipher(self)
