"""The calls of the interpreter that C makes cheaper; interpreter.pxd has what is so short that it stands inline.

``interpreter.py`` is the same interface for the pure edition.
"""

from cpython.exc cimport PyErr_CheckSignals

# Kept by a loop; the free list that Cython knows is not to be had from a .pxd.
FREELIST_LIMIT = 0 if plain() else 1024


cpdef attributes_on_demand(owner):
    """Give the object its ``__dict__`` when somebody sets an attribute on it, not before.

    Cython makes one for each object of a class that declares it. Few ever need it, it takes memory, and the interpreter
    finds methods faster where there is none.
    """
    drop_dict(owner)


cpdef check_signals():
    """Run the Python handlers of the signals that came: compiled code passes none of the interpreter's own checks."""
    PyErr_CheckSignals()


cdef int report(handle) except -1:
    """After a call that failed: tell ``handle.report``, but raise SystemExit and KeyboardInterrupt, as asyncio does.

    Apart from ``run``, since a try statement takes instructions also where nothing is raised.
    """
    try:
        raised()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        handle.report(exc)
