"""The buffers of one writev(2) or sendmsg(2), for the modules that make these calls."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdlib cimport free, malloc

from edgeloop.kernel.calls cimport VECTOR_SIZE
from edgeloop.kernel.headers cimport iovec

# A thread's stack may be small, threading.stack_size(): only as many are put there as most calls have.
cdef enum:
    FEW = 16


cdef struct View:
    Py_buffer buffer
    View* next


cdef struct Vectors:
    iovec* pieces
    PyObject** held  # to get at a buffer may run code that takes the others out of the list
    int count
    View* views
    iovec few_pieces[FEW]
    PyObject* few_held[FEW]


cdef inline int gather(Vectors* vectors, list chunks) except -1:
    """Point at the first IOV_MAX of the chunks. ``release`` comes after it, also when it raises."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t size
    cdef View* view
    vectors.pieces = vectors.few_pieces
    vectors.held = vectors.few_held
    vectors.count = 0
    vectors.views = NULL
    size = min(len(chunks), <Py_ssize_t>VECTOR_SIZE)
    if size > FEW:
        vectors.held = <PyObject**>malloc(size * (sizeof(iovec) + sizeof(PyObject*)))
        if vectors.held == NULL:
            raise MemoryError
        vectors.pieces = <iovec*>(vectors.held + size)
    while i < size and i < len(chunks):
        chunk = chunks[i]
        if type(chunk) is bytes:
            vectors.pieces[i].iov_base = PyBytes_AS_STRING(chunk)
            vectors.pieces[i].iov_len = PyBytes_GET_SIZE(chunk)
        else:
            view = <View*>malloc(sizeof(View))
            if view == NULL:
                raise MemoryError
            try:
                PyObject_GetBuffer(chunk, &view.buffer, PyBUF_SIMPLE)
            except BaseException:
                free(view)
                raise
            view.next = vectors.views
            vectors.views = view
            vectors.pieces[i].iov_base = view.buffer.buf
            vectors.pieces[i].iov_len = view.buffer.len
        Py_INCREF(chunk)
        vectors.held[i] = <PyObject*>chunk
        i += 1
        vectors.count = <int>i
    return 0


cdef inline void release(Vectors* vectors) noexcept:
    cdef View* view
    while vectors.views != NULL:
        view = vectors.views
        vectors.views = view.next
        PyBuffer_Release(&view.buffer)
        free(view)
    while vectors.count:
        vectors.count -= 1
        Py_DECREF(<object>vectors.held[vectors.count])
    if vectors.held != vectors.few_held:
        free(vectors.held)
