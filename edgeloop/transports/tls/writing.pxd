cimport cython

from edgeloop.kernel cimport calls
from edgeloop.transports.tls cimport engine, state
from edgeloop.transports.tls.records cimport TLSRecords

cdef double PROMPT
cdef double LATE
cdef int MIN_PROMPT_CALLS
cdef int MORE_EACH_TIME
cdef int MAX_PROMPT_CALLS

cdef class TLSWriter(TLSRecords):
    cdef readonly object _loop
    cdef int _state
    cdef readonly object _lower
    cdef bint _lower_full
    cdef bint _lower_eof
    cdef object _app_protocol
    cdef readonly object app_transport
    cdef int _busy
    cdef bint _encrypting
    cdef bint _writing_paused
    cdef int _lost_writes
    cdef int _prompt_calls
    cdef int _prompt_calls_needed
    cdef int _small_writes
    cdef double _first_write
    cdef bint _was_late
    cdef Py_ssize_t _high_water
    cdef Py_ssize_t _low_water
    cpdef write(self, data)
    cdef _drop_write(self)
    @cython.locals(gathers=bint)
    cdef _appended(self)
    @cython.locals(elapsed=double, gathers=bint)
    cdef _call_ended(self)
    cdef _let_go(self)
    cdef Py_ssize_t _unsent_here(self) except -1
    cdef _send_write_buffer(self)
    cdef _encrypt_write_buffer(self)
    @cython.locals(records=bytes)
    cdef _send_outgoing(self)
    @cython.locals(size=Py_ssize_t)
    cdef _control_writing(self)
    cdef _call_app(self, name)
    cdef _advance(self)
    cpdef close(self)
    cdef _fatal_error(self, exc, message=*)
