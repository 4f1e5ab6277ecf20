"""The compiled edition of interpreter.py, as far as it isn't inline in interpreter.pxd."""

from cpython.exc cimport PyErr_CheckSignals

# The places of a loop's free list: what a flood of call_soon_threadsafe has pending. Handles that are allocated anew, by the
# thousand, make the interpreter collect garbage, for milliseconds. Cython's own @freelist can't be declared in a .pxd.
FREELIST_LIMIT = 0 if plain() else 4096


cpdef attributes_on_demand(owner):
    """Drop the object's empty ``__dict__``. The object makes one when an attribute is set on it.

    Cython makes one for each object of a class that declares it. It costs memory, and makes the lookup of methods slower.
    """
    drop_dict(owner)


cpdef check_signals():
    """Run the Python handlers of the signals that have come. Compiled code passes none of the interpreter's own checks."""
    PyErr_CheckSignals()


cdef int report(handle) except -1:
    """Pass the exception that is set to ``handle.report``. Raise SystemExit and KeyboardInterrupt, like asyncio.

    It is not in ``run``: a try statement takes instructions also where nothing is raised.
    """
    try:
        raised()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        handle.report(exc)
