cimport cython

from edgeloop.transports.tls cimport state
from edgeloop.transports.tls.writing cimport TLSWriter


cdef class TLSReader(TLSWriter):
    cdef bint _reading_paused
    cdef bint _resume_scheduled
    cdef bint _lower_paused
    cdef bint _app_buffered
    @cython.locals(filled=Py_ssize_t, data=bytes)
    cdef _deliver(self)
    cdef _end_of_data(self)
    cdef _deliver_later(self)
    cdef _interrupted(self)
    cdef _pause_lower(self)
    cdef _resume_lower(self)
