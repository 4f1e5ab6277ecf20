"""The pending timers, in a heap. ``timer_heap.py`` is the pure edition, and says what callers may rely on.

A binary heap in three arrays: the times and the numbers in C, the timers in a list, where the garbage collector finds them.
Moving a timer exchanges pointers and counts no references.
"""

from cpython.list cimport PyList_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc

cdef extern from "Python.h":
    ctypedef struct PyObject:
        pass
    ctypedef struct PyListObject:
        PyObject** ob_item
        Py_ssize_t allocated

cdef enum:
    FIRST_CAPACITY = 64


cdef inline bint pop_is_free(list items) noexcept:
    # A list that is less than half full gives memory back, and to do that may take memory.
    return PyList_GET_SIZE(items) > (<PyListObject*>items).allocated >> 1


cdef class TimerHeap:
    def __cinit__(self):
        self._timers = []
        self._whens = NULL
        self._numbers = NULL
        self._capacity = 0
        self._count = 0
        self.size = 0

    def __dealloc__(self):
        PyMem_Free(self._whens)
        PyMem_Free(self._numbers)

    cpdef push(self, double when, timer):
        cdef Py_ssize_t place = self.size
        if place == self._capacity:
            self._grow()
        self._timers.append(timer)
        self.size += 1
        self._count += 1
        self._whens[place] = when
        self._numbers[place] = self._count  # equal times keep their order
        self._rise(place)

    cpdef first(self):
        return self._timers[0]

    cpdef double first_when(self) except? -1:
        if self.size == 0:
            raise IndexError("no timer waits")
        return self._whens[0]

    cpdef pop_into(self, list items):
        if self.size == 0:
            raise IndexError("no timer waits")
        items.append(self._timers[0])  # first: there may be no memory for it
        if pop_is_free(self._timers):
            return self.pop()
        try:
            return self.pop()
        except MemoryError:
            del items[len(items) - 1]
            raise

    cpdef pop(self):
        cdef Py_ssize_t last = self.size - 1
        cdef PyObject** items = (<PyListObject*>self._timers).ob_item
        cdef PyObject* first
        if last < 0:
            raise IndexError("no timer waits")
        if pop_is_free(self._timers):
            first = items[0]
            items[0] = items[last]
            items[last] = first
            timer = self._timers.pop()
        else:
            timer = self._timers.pop()  # before anything has changed: it may raise
            if last:
                timer, self._timers[0] = self._timers[0], timer
        self.size = last
        if last:
            self._whens[0] = self._whens[last]
            self._numbers[0] = self._numbers[last]
            self._sink(0)
        return timer

    cpdef list timers(self):
        return list(self._timers)  # Python 3.11's list.copy reads the length, then allocates, which may run code

    cpdef list purge(self):
        cdef list kept = [], cancelled = []
        cdef Py_ssize_t place, to = 0
        for place in range(len(self._timers)):
            timer = self._timers[place]
            if timer._cancelled:
                cancelled.append(timer)
            else:
                kept.append(timer)
        # Only now, and without another allocation: there may have been no memory for the lists.
        for place in range(len(self._timers)):
            timer = self._timers[place]
            if not timer._cancelled:
                self._whens[to] = self._whens[place]
                self._numbers[to] = self._numbers[place]
                to += 1
        self.size = to
        self._timers = kept
        for place in range(to // 2 - 1, -1, -1):
            self._sink(place)
        return cancelled

    cpdef clear(self):
        timers = self._timers  # destructors may use the heap
        self.size = 0
        self._timers = []
        del timers

    cdef int _grow(self) except -1:
        cdef Py_ssize_t capacity = 2 * self._capacity if self._capacity else FIRST_CAPACITY
        cdef void* memory = PyMem_Realloc(self._whens, capacity * sizeof(double))
        if memory == NULL:
            raise MemoryError()
        self._whens = <double*>memory
        memory = PyMem_Realloc(self._numbers, capacity * sizeof(unsigned long long))
        if memory == NULL:
            raise MemoryError()
        self._numbers = <unsigned long long*>memory
        self._capacity = capacity
        return 0

    cdef void _rise(self, Py_ssize_t place) noexcept:
        cdef PyObject** items = (<PyListObject*>self._timers).ob_item
        cdef PyObject* item = items[place]
        cdef double when = self._whens[place]
        cdef unsigned long long number = self._numbers[place]
        cdef Py_ssize_t above
        while place > 0:
            above = (place - 1) >> 1
            # The new number is the largest, so equal times stay above.
            if not when < self._whens[above]:
                break
            items[place] = items[above]
            self._whens[place] = self._whens[above]
            self._numbers[place] = self._numbers[above]
            place = above
        items[place] = item
        self._whens[place] = when
        self._numbers[place] = number

    cdef void _sink(self, Py_ssize_t place) noexcept:
        cdef PyObject** items = (<PyListObject*>self._timers).ob_item
        cdef Py_ssize_t size = self.size
        cdef PyObject* item = items[place]
        cdef double when = self._whens[place]
        cdef unsigned long long number = self._numbers[place]
        cdef Py_ssize_t below, other
        while True:
            below = 2 * place + 1
            if below >= size:
                break
            other = below + 1
            if other < size and (
                self._whens[other] < self._whens[below]
                or (self._whens[other] == self._whens[below] and self._numbers[other] < self._numbers[below])
            ):
                below = other
            if when < self._whens[below] or (when == self._whens[below] and number < self._numbers[below]):
                break
            items[place] = items[below]
            self._whens[place] = self._whens[below]
            self._numbers[place] = self._numbers[below]
            place = below
        items[place] = item
        self._whens[place] = when
        self._numbers[place] = number
