"""A kernel in memory: descriptors, open files, the epoll set, eventfd and the clock.

The words are Linux's. A ``File`` is an open file description; descriptors are numbers that refer to one, lowest first. A file
has the items of the epoll sets that watch it, and ``wake`` puts these on their ready lists: ``ep_poll_callback`` of
fs/eventpoll.c. An edge is nothing else. What is ready is asked when it is harvested, so the events of one wait are merged,
and what is no longer so is not reported.

test_kernel_agreement.py holds all this against the real kernel.
"""

from __future__ import annotations

import errno
import heapq
import os
import select
from typing import Protocol

import simulated_calls as calls

IN = select.EPOLLIN
OUT = select.EPOLLOUT
PRI = select.EPOLLPRI
ERR = select.EPOLLERR
HUP = select.EPOLLHUP
RDHUP = select.EPOLLRDHUP
EDGE = select.EPOLLET
READ_KEY = IN | PRI  # of sock_def_readable: what an arrival wakes
EVENTFD_MAX = 2**64 - 1


def failure(number: int) -> OSError:
    """Return the exception of a system call that fails with this errno."""
    return OSError(number, os.strerror(number))


class Weather(Protocol):
    """What happens to system calls besides what they do."""

    def before(self, call: int, fd: int) -> int:
        """A call begins. Return a fault, 0 for none; raise what a signal handler raises."""

    def asleep(self, deadline: float | None) -> None:
        """A wait found nothing: do something, or move the clock; at ``deadline`` the wait ends."""


class File:
    """An open file description. ``refs`` descriptors refer to it; with the last one ``release`` is called."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.items: list[Item] = []
        self.refs = 0
        self.blocking = True

    def poll(self) -> int:
        """The events that hold now."""
        raise NotImplementedError

    def release(self) -> None:
        """The last descriptor is closed."""

    def wake(self, key: int) -> None:
        """An edge: for items whose interest has one of these events, for all with 0."""
        self.kernel.moved += 1
        for item in self.items:
            if not key or key & item.interest:
                item.owner.ready[item] = None


class Item:
    """One registration: fs/eventpoll.c's epitem, keyed by the descriptor and the open file."""

    __slots__ = ("fd", "file", "interest", "owner")

    def __init__(self, owner: EpollSet, file: File, fd: int, interest: int) -> None:
        self.owner = owner
        self.file = file
        self.fd = fd
        self.interest = interest


class EpollSet(File):
    """The interest list and the ready list."""

    def __init__(self, kernel: Kernel) -> None:
        File.__init__(self, kernel)
        self.registered: dict[tuple[int, File], Item] = {}
        self.ready: dict[Item, None] = {}
        self.harvested: list[Item] = []  # of the last wait, in its order

    def poll(self) -> int:
        return IN if any(item.file.poll() & item.interest for item in self.ready) else 0

    def has(self, fd: int) -> bool:
        """Return True if this descriptor is registered. Raise what EPOLL_CTL_ADD raises before it looks."""
        return (fd, self._target(fd)) in self.registered

    def add(self, fd: int, mask: int) -> None:
        """EPOLL_CTL_ADD: what holds already is reported."""
        file = self._target(fd)
        if (fd, file) in self.registered:
            raise failure(errno.EEXIST)
        item = Item(self, file, fd, mask | ERR | HUP)
        self.registered[fd, file] = item
        file.items.insert(0, item)  # add_wait_queue: the newest is woken first
        if file.poll() & item.interest:
            self.ready[item] = None

    def modify(self, fd: int, mask: int) -> None:
        """EPOLL_CTL_MOD: likewise."""
        item = self.registered.get((fd, self._target(fd)))
        if item is None:
            raise failure(errno.ENOENT)
        item.interest = mask | ERR | HUP
        if item.file.poll() & item.interest:
            self.ready.setdefault(item)

    def remove(self, fd: int) -> None:
        """EPOLL_CTL_DEL."""
        item = self.registered.get((fd, self._target(fd)))
        if item is None:
            raise failure(errno.ENOENT)
        self.drop(item)

    def _target(self, fd: int) -> File:
        file = self.kernel.file(fd)
        if isinstance(file, PollsNot):
            raise failure(errno.EPERM)
        if file is self:
            raise failure(errno.EINVAL)
        return file

    def drop(self, item: Item) -> None:
        """Forget an item: by its removal, or because its file is gone."""
        del self.registered[item.fd, item.file]
        item.file.items.remove(item)
        self.ready.pop(item, None)

    def harvest(self, limit: int) -> list[tuple[int, int]]:
        """Take at most ``limit`` events off the ready list: ``ep_send_events``."""
        if not self.ready:
            return []
        ready = self.ready
        self.ready = {}
        found: list[tuple[int, int]] = []
        self.harvested = []
        for item in ready:
            if len(found) == limit:
                # What is left stays in front of what has come meanwhile.
                rest = list(ready)
                self.ready = dict.fromkeys([*rest[rest.index(item) :], *self.ready])
                break
            events = item.file.poll() & item.interest
            if events:
                found.append((item.fd, events))
                self.harvested.append(item)
                if not item.interest & EDGE:
                    self.ready[item] = None
        return found

    def release(self) -> None:
        for item in list(self.registered.values()):
            self.drop(item)


class PollsNot(File):
    """A file that epoll refuses: /dev/null, or a regular one."""

    def poll(self) -> int:
        return IN | OUT

    def read(self, size: int) -> bytes:
        """read(2): its end."""
        return b""


class RegularFile(PollsNot):
    """A file with bytes."""

    def __init__(self, kernel: Kernel, data: bytes) -> None:
        PollsNot.__init__(self, kernel)
        self.data = data


class EventFd(File):
    """eventfd(2)."""

    def __init__(self, kernel: Kernel) -> None:
        File.__init__(self, kernel)
        self.count = 0

    def poll(self) -> int:
        return (IN if self.count else 0) | (OUT if self.count < EVENTFD_MAX - 1 else 0)

    def add(self, value: int) -> None:
        """write(2)."""
        if self.count + value > EVENTFD_MAX - 1:
            raise failure(errno.EAGAIN)
        self.count += value
        self.wake(IN)

    def take(self) -> int:
        """read(2)."""
        if not self.count:
            raise failure(errno.EAGAIN)
        count, self.count = self.count, 0
        self.wake(OUT)
        return count


class Kernel:
    """One process's descriptors, the names that sockets are bound to, and the clock.

    ``taken``: numbers that somebody else in the process has. ``limit``: RLIMIT_NOFILE. ``capacity``: of the buffers of each
    direction of a stream.
    """

    def __init__(self, taken: frozenset[int] = frozenset(), limit: int = 1024, capacity: int = 212992) -> None:
        self.files: dict[int, File] = {}
        self.next = max(taken, default=-1) + 1
        self.unused = [fd for fd in range(self.next) if fd not in taken]  # a heap
        self.limit = limit
        self.capacity = capacity
        self.pipe_slots = 16
        self.bound: dict[object, File] = {}  # by address
        self.port = 20000
        self.now = 1000.0
        self.weather: Weather | None = None
        self.digest = 0  # of the trace
        self.calls = 0
        self.waits = 0
        self.moved = 0  # grows with whatever happens: a loop that turns while it doesn't is busy
        self.interrupted_in = 0  # the wait of the turn that KeyboardInterrupt has ended last
        self.stale: list[str] = []  # channels that got the event of a predecessor (rule 9)
        self.pid = 1
        self.parents: set[File] = (
            set()
        )  # the epoll sets and eventfds that a forked child shares with its parent (rule 11)
        self.by_owner = False  # the program closes a descriptor, not the loop
        self.undeleted: list[int] = []  # descriptors that the loop has closed without EPOLL_CTL_DEL (rule 1)
        self.batch: set[int] = set()  # the descriptors of the last wait's events
        self.closed: dict[int, bool] = {}  # those of them that are closed since: whether by their owner
        self.reused: list[str] = []  # numbers that were taken again while their event was on the way (rule 9)
        self.log: list[str] | None = None

    # Descriptors

    def install(self, file: File) -> int:
        """Give a file the lowest number that is free."""
        if self.unused:
            fd = heapq.heappop(self.unused)
        else:
            fd = self.next
            self.next += 1
        if fd >= self.limit:
            heapq.heappush(self.unused, fd)
            raise failure(errno.EMFILE)
        self.files[fd] = file
        file.refs += 1
        if fd in self.closed:
            self.reused.append(
                f"a number is reused in a batch, closed by {'its owner' if self.closed.pop(fd) else 'us'}"
            )
        return fd

    def has_room(self) -> bool:
        """Whether one more descriptor can be opened."""
        return (self.unused[0] if self.unused else self.next) < self.limit

    def file(self, fd: int) -> File:
        """The file of a descriptor. OSError (EBADF) if it is closed."""
        try:
            return self.files[fd]
        except KeyError:
            raise failure(errno.EBADF) from None

    def close(self, fd: int) -> None:
        """close(2)."""
        file = self.file(fd)
        if file.refs > 1 and not self.by_owner:
            if any(item.fd == fd and item.owner not in self.parents for item in file.items):
                self.undeleted.append(fd)
        if fd in self.batch:
            self.closed[fd] = self.by_owner
        del self.files[fd]
        heapq.heappush(self.unused, fd)
        self.put(file)

    def put(self, file: File) -> None:
        """One reference less; the epoll sets forget a file with the last."""
        file.refs -= 1
        if not file.refs:
            for item in list(file.items):
                item.owner.drop(item)
            file.release()

    def dup2(self, fd: int, number: int) -> int:
        """dup2(2) over a number that is open."""
        file = self.file(fd)
        if fd == number:
            return number
        before = self.file(number)
        self.files[number] = file
        file.refs += 1
        self.put(before)
        return number

    def new_port(self) -> int:
        """A port that nobody has."""
        self.port += 1
        return self.port

    # Calls

    def enter(self, call: int, fd: int) -> int:
        """A system call begins: it is part of the trace. Return the fault that it meets, 0 for none."""
        self.calls += 1
        self.digest = hash((self.digest, call, fd))
        if self.log is not None:
            self.log.append(f"{calls.CALLS[call - 1]} {fd}")
        if self.weather is None:
            return 0
        return self.weather.before(call, fd)

    def note(self, *numbers: int) -> None:
        """Make numbers part of the trace."""
        self.digest = hash((self.digest, *numbers))
        if self.log is not None:
            self.log.append(f"  {numbers}")

    def wait(self, epoll: EpollSet, timeout: float | None, limit: int) -> list[tuple[int, int]]:
        """epoll_wait(2); ``timeout`` in seconds, None for no limit."""
        deadline = None if timeout is None else self.now + timeout
        while True:
            found = epoll.harvest(limit)
            if found or timeout == 0:
                return found
            if deadline is not None and self.now >= deadline:
                return found
            if self.weather is None:
                if deadline is None:
                    raise AssertionError("the process sleeps for ever")
                self.now = deadline
            else:
                self.weather.asleep(deadline)
