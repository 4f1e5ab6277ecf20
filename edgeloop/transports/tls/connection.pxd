cimport cython

from edgeloop.transports.tls cimport engine, state
from edgeloop.transports.tls.engine cimport Engine
from edgeloop.transports.tls.outgoing cimport Gathering, OutgoingBuffer


cdef class TLSConnection:
    cdef object sslobj
    cdef Engine engine
    cdef OutgoingBuffer outgoing
    cdef Gathering gathering
    cdef int state
    cdef int calls
    cdef object app_transport
    cdef object app_protocol
    cdef object lower
    cdef object _protocol
    cdef object _loop
    cdef bint _lower_paused
    cdef bint _answers_wait
    cdef bint _encrypting
    cdef bint _writing_paused
    cdef Py_ssize_t _high_water
    cdef Py_ssize_t _low_water
    cdef int _lost_writes
    cdef object _exception
    cdef object _shutdown_timeout
    cdef object _shutdown_timer
    cdef Py_ssize_t _unsent_at_timer
    cdef Py_ssize_t _discarded
    cdef enter(self, int new)
    cdef advance(self)
    @cython.locals(wait=bint)
    cdef _bound_answers(self)
    cdef pause_lower(self)
    cdef resume_lower(self)
    cdef write(self, data)
    cdef writelines(self, list items)
    cdef _leave(self)
    cdef flush(self)
    cdef _drop_write(self)
    cdef send(self)
    @cython.locals(size=Py_ssize_t)
    cdef _control_writing(self)
    cdef _call_app(self, name)
    cdef _report(self, exc, message, transport, protocol)
    cdef Py_ssize_t get_write_buffer_size(self) except -1
    cdef close(self)
    cdef abort(self)
    cdef _go_on_closing(self)
    cdef _send_close_notify(self)
    cdef await_close_notify(self)
    cdef close_lower(self)
    cdef _start_shutdown_timer(self)
    cdef Py_ssize_t _unsent(self) except -1
    cdef fail(self, exc, message=*)
    cdef lost(self, exc)
