from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, errno

from edgeloop.kernel_interpreter cimport (
    drop_dict, empty, has_company, has_dict, has_own, plain, swap_in, swap_out, take_last, type_version, unshared,
)

cdef enum:
    BUFFER_SIZE = 262144
    VECTOR_SIZE = 1024

cdef int EPOLL_INPUT
cdef int EPOLL_READ
cdef int EPOLL_WRITE
cdef int EPOLL_HANGUP
cdef int EPOLL_URGENT
cdef int EPOLL_EDGE
cdef int INTEREST_READ
cdef int INTEREST_WRITE
cdef int INTEREST_URGENT
cdef int INTEREST_STREAM
cdef int INTEREST_HANGUP
cdef Py_ssize_t READ_SIZE
cdef Py_ssize_t MOST_CHUNKS
cdef Py_ssize_t SPARE_HANDLES

cpdef double now() noexcept
cpdef attributes_on_demand(owner)
cpdef check_signals()
cpdef close(int fd)
cdef int report(handle) except -1

# What follows is so short that a call of another module's function would cost as much as it does itself.

cdef extern from *:
    """
    /* Each context.run() from C: the same steps as Context.run, without building the call. */
    static inline PyObject *edgeloop_call(PyObject *context, PyObject *callback, PyObject *const *args, size_t count) {
        if (PyContext_Enter(context)) return NULL;
        PyObject *result = PyObject_Vectorcall(callback, args, count, NULL);
        if (PyContext_Exit(context)) { Py_XDECREF(result); return NULL; }
        return result;
    }
    /* 0, or 1 with the exception set. */
    static inline int edgeloop_fails(PyObject *context, PyObject *callback, PyObject *args) {
        if (args == Py_None) {
            PyErr_SetString(PyExc_TypeError, "the handle has no arguments: somebody took them away");
            return 1;
        }
        PyObject *result = edgeloop_call(context, callback, ((PyTupleObject *)args)->ob_item, (size_t)PyTuple_GET_SIZE(args));
        if (result == NULL) return 1;
        Py_DECREF(result);
        return 0;
    }
    static inline int edgeloop_raised(void) { return -1; }
    static inline PyObject *edgeloop_call_one(PyObject *context, PyObject *callback, PyObject *argument) {
        PyObject *slots[2] = {NULL, argument};  /* the spare slot lets a bound method put its self there */
        return edgeloop_call(context, callback, slots + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET);
    }
    static inline PyObject *edgeloop_call_none(PyObject *context, PyObject *callback) {
        PyObject *slots[1] = {NULL};
        return edgeloop_call(context, callback, slots + 1, 0 | PY_VECTORCALL_ARGUMENTS_OFFSET);
    }
    /* The method is looked up for each call, as in Python, but no bound method is made for it. */
    static inline PyObject *edgeloop_call_method(PyObject *context, PyObject *owner, PyObject *name, PyObject *argument) {
        PyObject *slots[3] = {NULL, owner, argument};
        if (PyContext_Enter(context)) return NULL;
        PyObject *result = PyObject_VectorcallMethod(name, slots + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (PyContext_Exit(context)) { Py_XDECREF(result); return NULL; }
        return result;
    }
    """
    unsigned long PyThread_get_thread_ident()
    bint fails "edgeloop_fails" (object context, object callback, object args)
    int raised "edgeloop_raised" () except -1  # raises what is set already
    int set_slice "PyList_SetSlice" (list items, Py_ssize_t low, Py_ssize_t high, void* put) except -1
    object call_none "edgeloop_call_none" (object context, object callback)
    object call_one "edgeloop_call_one" (object context, object callback, object argument)
    object call_method "edgeloop_call_method" (object context, object owner, object name, object argument)
    object copy_context "PyContext_CopyCurrent" ()
    object construct "PyObject_Call" (object cls, object args, object keywords)  # Cython would copy the dict first


cdef inline int drop_first(list items, Py_ssize_t count) except -1:
    return set_slice(items, 0, count, NULL)


cdef inline unsigned long this_thread() noexcept:
    return PyThread_get_thread_ident()


cdef inline bint is_this_thread(thread_id) except -1:
    return thread_id is not None and <unsigned long>thread_id == PyThread_get_thread_ident()


cdef inline int run(handle, context, callback, args) except -1:
    """Call in the given context, and have ``report`` tell what it raises."""
    if fails(context, callback, args):
        report(handle)
    return 0


cdef inline bint again() except -1:
    """After a system call that failed: whether to repeat it, since a signal cut it short; not if it would block."""
    if errno == EAGAIN:
        return False
    if errno != EINTR:
        PyErr_SetFromErrno(OSError)
    PyErr_CheckSignals()
    return True
