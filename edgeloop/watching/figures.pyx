"""The figures of a loop. ``figures.py`` is the pure edition, and says what callers may rely on.

The numbers are in pages of memory by themselves, which ``share`` replaces by those of a file, at the same address. So whoever
has the address may use it for good: pages are never unmapped, and the next loop gets those of one that is gone.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from edgeloop.kernel cimport ticks as clock

from edgeloop.watching import layout
from edgeloop.watching.naming import describe

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t size, int protection, int flags, int fd, long offset)
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_SHARED, MAP_ANONYMOUS, MAP_FIXED
    void* MAP_FAILED

cdef extern from "<unistd.h>" nogil:
    ssize_t pwrite(int fd, const void* data, size_t size, long offset)

cdef extern from "<limits.h>":
    long long LLONG_MAX

if sizeof(Counts) != layout.SIZE or BUCKETS != layout.BUCKETS or KINDS != len(layout.KINDS):
    raise ImportError("figures.pxd and layout.py differ")

cdef enum:
    PAGES = 8192  # of the smallest size there is; mmap(2) rounds up


cdef struct Free:  # what a block begins with that no loop uses
    Free* next


cdef Free* free_blocks = NULL
cdef long long numbers = 0


cdef Counts* new_block() except NULL:
    global free_blocks
    cdef void* block = free_blocks
    if block != NULL:
        free_blocks = free_blocks.next
        memset(block, 0, sizeof(Counts))
        return <Counts*>block
    block = mmap(NULL, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if block == MAP_FAILED:
        raise MemoryError
    return <Counts*>block


cdef Counts nobodys  # of objects that were never initialised


cdef class Counting:
    """What counts: it has ``counts``."""

    def __cinit__(self):
        self.counts = &nobodys


cdef class Figures:
    """The figures of one loop, which its Reactor owns."""

    def __cinit__(self):
        global numbers
        self.counts = NULL
        cdef Counts* counts = new_block()
        self.counts = counts
        numbers += 1
        counts.magic = layout.MAGIC
        counts.version = layout.VERSION
        counts.size = sizeof(Counts)
        counts.number = numbers
        counts.by_counter = clock.may_use_counter()
        counts.made_at = clock.ticks(counts.by_counter)
        counts.refresh_at = LLONG_MAX
        self.longest = None
        self.file = None

    def __dealloc__(self):
        global free_blocks
        cdef Free* block = <Free*>self.counts
        if block == NULL:
            return
        if self.shared and not self._remap():
            return  # the file stays mapped here, and nobody uses it
        block.next = free_blocks
        free_blocks = block

    cdef bint _remap(self) noexcept:
        # Put pages of this process alone in the place of the file's, with what these contain.
        cdef void* copy = malloc(sizeof(Counts))
        cdef void* block = self.counts
        if copy == NULL:
            return False
        memcpy(copy, block, sizeof(Counts))
        if mmap(block, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED:
            free(copy)
            return False
        memcpy(block, copy, sizeof(Counts))
        free(copy)
        return True

    def share(self, int fd):
        """Keep the figures in a file from now on, which has PAGES bytes. Raise OSError if it can't be mapped."""
        if pwrite(fd, self.counts, sizeof(Counts), 0) != <ssize_t>sizeof(Counts):
            PyErr_SetFromErrno(OSError)
        if mmap(self.counts, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED:
            PyErr_SetFromErrno(OSError)
        self.shared = True

    def make_private(self):
        """Keep them in memory from now on: the file stays as it is."""
        if self.shared:
            if not self._remap():
                raise MemoryError
            self.shared = False
        file = self.file
        self.file = None
        self.counts.refresh_at = LLONG_MAX
        if file is not None:
            file.detach()

    def raw(self):
        """Return a copy of all, for ``layout.unpack``."""
        return PyBytes_FromStringAndSize(<char*>self.counts, sizeof(Counts))

    # For what happens seldom, by the place in layout.PLACES

    cdef long long* _at(self, Py_ssize_t place) except NULL:
        if not 0 <= place < <Py_ssize_t>(sizeof(Counts) // 8):
            raise IndexError(place)
        return <long long*>self.counts + place

    def add(self, Py_ssize_t place, long long amount=1):
        """Add to a number."""
        self._at(place)[0] += amount

    def set(self, Py_ssize_t place, long long value):
        """Set a number."""
        self._at(place)[0] = value

    def get(self, Py_ssize_t place):
        """Return a number."""
        return self._at(place)[0]

    def set_scale(self):
        """Measure again how long a tick is, and what time it is."""
        base_ticks, base_ns, ns_per_tick = clock.scale(self.counts.by_counter)
        self.counts.ns_per_tick = ns_per_tick
        self.counts.base_ticks = base_ticks
        self.counts.base_ns = base_ns

    # The loop's life

    def run_begins(self, long long thread):
        """A thread begins to run the loop."""
        cdef Counts* counts = self.counts
        counts.turn_began = 0
        counts.thread = thread
        counts.began = counts.running_since = clock.ticks(counts.by_counter)

    def run_ends(self):
        """It has ended, perhaps by an exception from a wait."""
        cdef Counts* counts = self.counts
        cdef long long now = clock.ticks(counts.by_counter)
        if not counts.running_since:
            return
        if counts.slept_at > counts.woken_at:
            counts.idle += now - counts.slept_at
            counts.woken_at = now
        counts.ran += now - counts.running_since
        counts.running_since = counts.thread = counts.turn_began = 0

    def close(self):
        """The loop is closed: remove the file, if there is one."""
        self.counts.closed = 1
        if self.file is not None:
            self.file.remove()
            self.make_private()

    # Measuring

    def measure(self, int change):
        """Count who wants lengths and delays: 1 or -1."""
        cdef Counts* counts = self.counts
        if change > 0 and not counts.measuring:
            if not counts.ns_per_tick:
                self.set_scale()
            counts.turn_began = 0
            counts.began = counts.waits_since = clock.ticks(counts.by_counter)
        counts.measuring += change

    cdef void _note(self, what, long long length) noexcept:
        # What describes it may run callbacks, and measure a longer one.
        cdef Counts* counts = self.counts
        try:
            self._set_longest(what, length)
        except Exception:  # MemoryError: then the name is that of the one before
            pass
        counts.began = clock.ticks(counts.by_counter)

    cdef _set_longest(self, what, long long length):
        cdef Counts* counts = self.counts
        cdef bytes encoded
        cdef Py_ssize_t size
        text = describe(what)
        if counts.callback.max != length:
            return
        encoded = text.encode("utf-8", "replace")
        size = min(PyBytes_GET_SIZE(encoded), TEXT_SIZE - 1)
        self.longest = (length * counts.ns_per_tick * 1e-9, text)
        counts.longest_writes += 1
        counts.longest_ns = <long long>(length * counts.ns_per_tick)
        memset(counts.longest_text, 0, TEXT_SIZE)
        memcpy(counts.longest_text, PyBytes_AS_STRING(encoded), size)
        counts.longest_writes += 1

    cdef refresh(self):
        file = self.file
        self.counts.refresh_at = LLONG_MAX  # the file sets the next time
        if file is not None:
            file.refresh()
