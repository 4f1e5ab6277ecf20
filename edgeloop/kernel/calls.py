"""The kernel's constants, the clock and close(2), for the pure edition; ``calls.pyx`` is the compiled one's.

Same names, same return values, same exceptions. So it is with the modules beside this one: epoll, sockets, pipes, datagrams.
Together they make every system call of a turn, and only they know errno values; what a caller has to handle is either a
documented return value or an OSError.
"""

from __future__ import annotations

import functools
import os
import select
import time

EPOLL_INPUT = select.EPOLLIN
EPOLL_READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
EPOLL_WRITE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
# PRI with it: urgent data ends a read at its mark, and what is behind that is left (rule 2).
EPOLL_HANGUP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
EPOLL_URGENT = select.EPOLLPRI
EPOLL_EDGE = select.EPOLLET
INTEREST_READ = select.EPOLLIN | select.EPOLLRDHUP
INTEREST_WRITE = select.EPOLLOUT
INTEREST_URGENT = select.EPOLLPRI
INTEREST_STREAM = INTEREST_READ | INTEREST_URGENT  # urgent data cuts reads short at its mark (rule 2)
INTEREST_HANGUP = select.EPOLLRDHUP  # HUP and ERR are told unasked
# As asyncio. It is over the 128 KiB from which glibc maps each block apart (mmap(2), page faults, munmap(2)), which would
# treble the CPU time of a 1 KiB echo, but a loop has raised that limit: KEPT_HEAP in event_loop.py.
READ_SIZE = 262144
MAX_CHUNKS = 1024  # IOV_MAX

# An object of its own: freezegun puts its frozen clock wherever a module has time.monotonic itself, and a loop whose clock
# stands still never wakes up. The compiled edition's clock can't be reached so either.
now = functools.partial(time.monotonic)


def close(fd: int) -> None:
    """Close a descriptor. After EINTR Linux has closed it all the same, close(2)."""
    os.close(fd)
