# All that the compiled edition uses of the interpreter's internals, but for the ssl module's (transports/tls/libssl.pxd).
# The callers hold the GIL. interpreter.py says what each function returns.
#
# Each internal was checked on CPython 3.11 to 3.15; test_interpreter_inside.py fails when one no longer holds. The plain
# mode does without them: EDGELOOP_PLAIN=1 in the environment of the import, and always in a build without the GIL.
#
#   internal                                      | plain mode
#   unshared: the caller's is the one reference   | no handle is used again
#   take_only, empty: a list keeps its memory     | list.pop(), list.clear()
#   drop_dict: tp_dictoffset of Cython's classes  | each object keeps the __dict__ that Cython makes for it
#   has_dict, has_own: _PyObject_GetDictPtr       | the attribute __dict__, which makes one
#   type_version, watched_version:                | the class is examined each time
#     tp_version_tag, which the                   |
#     interpreter's method cache uses to detect   |
#     that a class has changed                    |
#
# has_company uses documented calls only. In plain mode it always returns 1, so the GIL is always released.

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

    /* The class whose changes this module looks for, and keeps. */
    static PyTypeObject *edgeloop_watched = NULL;

    static inline void edgeloop_watch_class(PyObject *cls) {
        Py_INCREF(cls);
        edgeloop_watched = (PyTypeObject *)cls;
    }

    static inline unsigned int edgeloop_watched_version(void) {
        return edgeloop_plain() ? 0 : edgeloop_watched->tp_version_tag;
    }

    /* Return 1 if the caller's reference is the only one, weak references included. */
    static inline int edgeloop_unshared(PyObject *object) {
        return Py_REFCNT(object) == 1 && !*(PyObject **)((char *)object + Py_TYPE(object)->tp_weaklistoffset)
            && !edgeloop_plain();
    }

    /* Replace a list's item by None and return it. */
    static inline PyObject *edgeloop_swap_out(PyObject *list, Py_ssize_t place) {
        PyObject *item = PyList_GET_ITEM(list, place);
        Py_INCREF(Py_None);
        PyList_SET_ITEM(list, place, Py_None);
        return item;
    }

    /* Replace None in a list by an item. */
    static inline void edgeloop_swap_in(PyObject *list, Py_ssize_t place, PyObject *item) {
        Py_INCREF(item);
        PyList_SET_ITEM(list, place, item);
        Py_DECREF(Py_None);
    }

    /* Take the only item of a list, which keeps its memory. No reference is dropped, so no other code can run meanwhile. */
    static inline PyObject *edgeloop_take_only(PyObject *list) {
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

    /* list.clear() for a list of None that will be filled again. It keeps up to 4096 places. If an item is not None, the
       interpreter clears the list: dropping the item may run code that uses the list. */
    static inline int edgeloop_empty(PyObject *list) {
        PyListObject *items = (PyListObject *)list;
        Py_ssize_t size = PyList_GET_SIZE(list), place;
        if (items->allocated > 4096 || edgeloop_plain()) return PyList_SetSlice(list, 0, size, NULL);
        for (place = 0; place < size; place++) {
            if (items->ob_item[place] != Py_None) return PyList_SetSlice(list, 0, size, NULL);
        }
        Py_SET_SIZE(items, 0);
    #if PY_VERSION_HEX < 0x030C0000
        while (size-- > 0) Py_DECREF(Py_None);  /* immortal from 3.12 on */
    #endif
        return 0;
    }

    /* Drop the __dict__ that Cython has made. The object makes another when an attribute is set. */
    static inline void edgeloop_drop_dict(PyObject *object) {
        Py_ssize_t offset = Py_TYPE(object)->tp_dictoffset;
        if (offset > 0 && !edgeloop_plain()) Py_CLEAR(*(PyObject **)((char *)object + offset));
    }

    /* Return 1 if the object may have attributes of its own. Asking for ``__dict__`` would make one. */
    static inline int edgeloop_has_dict(PyObject *object) {
        Py_ssize_t offset = Py_TYPE(object)->tp_dictoffset;
        PyObject **place;
        if (edgeloop_plain()) return PyObject_HasAttrString(object, "__dict__");
        if (offset > 0) return *(PyObject **)((char *)object + offset) != NULL;
        place = _PyObject_GetDictPtr(object);
        return place != NULL && *place != NULL;
    }

    /* The versions are numbers of no class if they are unknown. */
    static inline int edgeloop_is_changed(PyObject *object, long long version, long long watched) {
        PyObject **place;
        if (edgeloop_plain() || Py_TYPE(object)->tp_version_tag != version || edgeloop_watched->tp_version_tag != watched) {
            return 1;
        }
        place = _PyObject_GetDictPtr(object);
        return place != NULL && *place != NULL;
    }

    /* Return the dict, a new reference, or NULL with an exception set. edgeloop_has_dict must have returned 1. */
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

    /* How many threads sleep in pulse.pyx, and don't want the GIL. */
    extern int edgeloop_quiet_threads;

    /* Return 1 if the interpreter has other threads, which may wait for the GIL. */
    static inline int edgeloop_has_company(void) {
        PyThreadState *other;
        int quiet = edgeloop_quiet_threads;
        if (edgeloop_plain()) return 1;
        other = PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get()));
        while (other != NULL && quiet-- > 0) other = PyThreadState_Next(other);
        return other != NULL;
    }
    """
    bint plain "edgeloop_plain" ()
    bint unshared "edgeloop_unshared" (object object)
    void swap_in "edgeloop_swap_in" (object list, Py_ssize_t place, object item)
    object swap_out "edgeloop_swap_out" (object list, Py_ssize_t place)
    object take_only "edgeloop_take_only" (object list)
    int empty "edgeloop_empty" (object list) except -1
    void drop_dict "edgeloop_drop_dict" (object object)
    bint has_dict "edgeloop_has_dict" (object object)
    bint is_changed "edgeloop_is_changed" (object object, long long version, long long watched)
    object get_dict "edgeloop_get_dict" (object object)
    unsigned int type_version "edgeloop_type_version" (object object)
    void watch_class "edgeloop_watch_class" (object cls)
    unsigned int watched_version "edgeloop_watched_version" ()
    bint has_company "edgeloop_has_company" ()


cdef inline bint has_own(owner, str name) except -1:
    """Return True if this attribute is set on the object itself."""
    return has_dict(owner) and name in <dict>get_dict(owner)


cdef Py_ssize_t FREELIST_LIMIT

cpdef attributes_on_demand(owner)
cpdef check_signals()
cdef int report(handle) except -1

# The rest is inline, because each is so short that the call of another module's function would cost as much.

cdef extern from *:
    """
    /* Context.run from C, without the tuple of arguments. Return NULL with an exception set if the call fails. */
    static inline PyObject *edgeloop_call(PyObject *context, PyObject *callback, PyObject *const *args, size_t count) {
        if (PyContext_Enter(context)) return NULL;
        PyObject *result = PyObject_Vectorcall(callback, args, count, NULL);
        if (PyContext_Exit(context)) { Py_XDECREF(result); return NULL; }
        return result;
    }
    /* Call, and return 0, or 1 with an exception set. */
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
        PyObject *slots[2] = {NULL, argument};  /* a bound method puts its self into slots[0] */
        return edgeloop_call(context, callback, slots + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET);
    }
    static inline PyObject *edgeloop_call_none(PyObject *context, PyObject *callback) {
        PyObject *slots[1] = {NULL};
        return edgeloop_call(context, callback, slots + 1, 0 | PY_VECTORCALL_ARGUMENTS_OFFSET);
    }
    /* Look the method up for each call, like Python, but make no bound method. */
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
    object to_bytes "PyBytes_FromObject" (object data)
    object construct "PyObject_Call" (object cls, object args, object keywords)  # Cython would copy the dict first


cdef inline int drop_first(list items, Py_ssize_t count) except -1:
    if count == len(items):
        return empty(items)
    return set_slice(items, 0, count, NULL)


cdef inline unsigned long this_thread() noexcept:
    return PyThread_get_thread_ident()


cdef inline bint is_this_thread(thread_id) except -1:
    return thread_id is not None and <unsigned long>thread_id == PyThread_get_thread_ident()


cdef inline int run(handle, context, callback, args) except -1:
    """Call in the given context. See interpreter.py."""
    if fails(context, callback, args):
        report(handle)
    return 0
