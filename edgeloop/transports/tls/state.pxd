cdef int NEW
cdef int HANDSHAKE
cdef int OPEN
cdef int FLUSHING
cdef int SHUTDOWN
cdef int CLOSED

cdef int MORE
cdef int WANT_READ
cdef int EOF
cdef int FAILED
