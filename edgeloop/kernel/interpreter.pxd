# What the compiled edition knows of the interpreter's inside: all of it, but for OpenSSL's (transports/libssl.pxd).
#
# Each was checked on CPython 3.11 to 3.15. tests/test_interpreter_inside.py notices when one no longer holds, and runs the
# other way, the plain one: EDGELOOP_PLAIN=1 in the environment when edgeloop is imported; always in a build without the GIL.
#
#   what                                          | otherwise
#   unshared: one reference is the caller's own   | no handle is used again
#   take_last, empty: a list keeps its memory     | list.pop(), list.clear()
#   drop_dict: tp_dictoffset of Cython's classes  | each object keeps the __dict__ that Cython makes for it
#   has_dict, has_own: _PyObject_GetDictPtr       | the attribute __dict__, which makes one
#   type_version: tp_version_tag, with which the  | the class is looked at each time
#     interpreter's own cache of methods knows    |
#     that a class is unchanged                   |
#
# has_company asks by documented calls; plain, the GIL is always let go. Counts of instructions with and without: in the
# history of this file.

from cpython.object cimport PyObject

cdef extern from *:
    """
    #include <stdlib.h>

    /* One for each module that includes this. */
    static int edgeloop_plainness = -1;

    static int edgeloop_look_for_plain(void) {
    #ifdef Py_GIL_DISABLED
        edgeloop_plainness = 1;
    #else
        const char *plain = getenv("EDGELOOP_PLAIN");
        edgeloop_plainness = plain != NULL && *plain && !(plain[0] == '0' && plain[1] == 0);
    #endif
        return edgeloop_plainness;
    }

    static inline int edgeloop_plain(void) {
        return edgeloop_plainness >= 0 ? edgeloop_plainness : edgeloop_look_for_plain();
    }

    /* Whether the caller's variable is the only thing that leads to the object, which a weak reference would do too. */
    static inline int edgeloop_unshared(PyObject *object) {
        return Py_REFCNT(object) == 1 && !*(PyObject **)((char *)object + Py_TYPE(object)->tp_weaklistoffset)
            && !edgeloop_plain();
    }

    /* What a list has in this place, where it has None from now on. */
    static inline PyObject *edgeloop_swap_out(PyObject *list, Py_ssize_t place) {
        PyObject *item = PyList_GET_ITEM(list, place);
        Py_INCREF(Py_None);
        PyList_SET_ITEM(list, place, Py_None);
        return item;
    }

    /* Puts an item into a place of a list that has None. */
    static inline void edgeloop_swap_in(PyObject *list, Py_ssize_t place, PyObject *item) {
        Py_INCREF(item);
        PyList_SET_ITEM(list, place, item);
        Py_DECREF(Py_None);
    }

    /* list.pop() that keeps the memory. Nothing is dropped, so nothing can run meanwhile. */
    static inline PyObject *edgeloop_take_last(PyObject *list) {
        Py_ssize_t last = PyList_GET_SIZE(list) - 1;
        PyObject *item = PyList_GET_ITEM(list, last);
        if (edgeloop_plain()) {
            Py_INCREF(item);
            if (PyList_SetSlice(list, last, last + 1, NULL)) Py_CLEAR(item);
            return item;
        }
        Py_SET_SIZE((PyListObject *)list, last);
        return item;
    }

    /* list.clear() for a list of None that will be filled again: it keeps its memory, if that is not much. If somebody put
       something else there, whose end may run code that looks at the list, the interpreter does it. */
    static inline int edgeloop_empty(PyObject *list) {
        PyListObject *items = (PyListObject *)list;
        Py_ssize_t size = PyList_GET_SIZE(list), place;
        if (items->allocated > 4096 || edgeloop_plain()) return PyList_SetSlice(list, 0, size, NULL);
        for (place = 0; place < size; place++) {
            if (items->ob_item[place] != Py_None) return PyList_SetSlice(list, 0, size, NULL);
        }
        Py_SET_SIZE(items, 0);
    #if PY_VERSION_HEX < 0x030C0000
        while (size-- > 0) Py_DECREF(Py_None);  /* immortal since */
    #endif
        return 0;
    }

    static inline void edgeloop_drop_dict(PyObject *object) {
        Py_ssize_t offset = Py_TYPE(object)->tp_dictoffset;
        if (offset > 0 && !edgeloop_plain()) Py_CLEAR(*(PyObject **)((char *)object + offset));
    }

    /* Whether the object may have attributes of its own. Not by ``__dict__``, which would make one. */
    static inline int edgeloop_has_dict(PyObject *object) {
        PyObject **place;
        if (edgeloop_plain()) return PyObject_HasAttrString(object, "__dict__");
        place = _PyObject_GetDictPtr(object);
        return place != NULL && *place != NULL;
    }

    /* Of an object that edgeloop_has_dict says may have attributes. A new reference, or NULL with the exception set. */
    static inline PyObject *edgeloop_get_dict(PyObject *object) {
        PyObject *dict;
        if (edgeloop_plain()) return PyObject_GetAttrString(object, "__dict__");
        dict = *_PyObject_GetDictPtr(object);
        Py_INCREF(dict);
        return dict;
    }

    static inline unsigned int edgeloop_type_version(PyObject *object) {
        return edgeloop_plain() ? 0 : Py_TYPE(object)->tp_version_tag;
    }

    /* Whether the interpreter has other threads, who may be waiting for it. */
    static inline int edgeloop_has_company(void) {
        PyThreadState *newest;
        if (edgeloop_plain()) return 1;
        newest = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
        return PyThreadState_Next(newest) != NULL;
    }
    """
    bint plain "edgeloop_plain" ()
    bint unshared "edgeloop_unshared" (object object)
    void swap_in "edgeloop_swap_in" (object list, Py_ssize_t place, object item)
    object swap_out "edgeloop_swap_out" (object list, Py_ssize_t place)
    object take_last "edgeloop_take_last" (object list)
    int empty "edgeloop_empty" (object list) except -1
    void drop_dict "edgeloop_drop_dict" (object object)
    bint has_dict "edgeloop_has_dict" (object object)
    object get_dict "edgeloop_get_dict" (object object)
    unsigned int type_version "edgeloop_type_version" (object object)
    bint has_company "edgeloop_has_company" ()


cdef inline bint has_own(owner, str name) except -1:
    """Whether somebody has set this attribute on the object itself."""
    return has_dict(owner) and name in <dict>get_dict(owner)


cdef Py_ssize_t FREELIST_LIMIT

cpdef attributes_on_demand(owner)
cpdef check_signals()
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
