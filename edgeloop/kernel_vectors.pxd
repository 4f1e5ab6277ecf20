"""The buffers of one writev(2) or sendmsg(2), for the rooms that make these calls."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from edgeloop.kernel cimport VECTOR_SIZE
from edgeloop.kernel_headers cimport iovec


cdef struct Vectors:
    iovec pieces[VECTOR_SIZE]
    int count
    Py_buffer views[VECTOR_SIZE]
    int viewed


cdef inline int gather(Vectors* vectors, list chunks) except -1:
    """Point at the first IOV_MAX of the chunks. ``release`` comes after it, also when it raises."""
    vectors.count = vectors.viewed = 0
    for chunk in chunks:
        if vectors.count == VECTOR_SIZE:
            break
        if type(chunk) is bytes:
            vectors.pieces[vectors.count].iov_base = PyBytes_AS_STRING(chunk)
            vectors.pieces[vectors.count].iov_len = PyBytes_GET_SIZE(chunk)
        else:
            PyObject_GetBuffer(chunk, &vectors.views[vectors.viewed], PyBUF_SIMPLE)
            vectors.pieces[vectors.count].iov_base = vectors.views[vectors.viewed].buf
            vectors.pieces[vectors.count].iov_len = vectors.views[vectors.viewed].len
            vectors.viewed += 1
        vectors.count += 1
    return 0


cdef inline void release(Vectors* vectors) noexcept:
    while vectors.viewed:
        vectors.viewed -= 1
        PyBuffer_Release(&vectors.views[vectors.viewed])
