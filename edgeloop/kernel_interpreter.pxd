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
