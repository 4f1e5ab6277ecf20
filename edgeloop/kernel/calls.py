"""epoll(7)'s constants, the sizes of reads and writes, the clock and close(2). ``calls.pyx`` is the compiled edition.

EPOLL_* are masks of the events that ``Poller.wait`` returns, INTEREST_* are what ``Poller.add`` registers (rule 2).
``now`` returns seconds and never fails. ``close`` raises OSError for every errno but EINTR. Any thread may call both.
"""

from __future__ import annotations

import functools
import os
import select
import time

_RDHUP: int = getattr(select, "EPOLLRDHUP", 0x2000)  # PyPy leaves it out; the number is every architecture's

EPOLL_INPUT = select.EPOLLIN
EPOLL_READ = select.EPOLLIN | _RDHUP | select.EPOLLHUP | select.EPOLLERR
EPOLL_WRITE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
# With PRI: urgent data ends a read at its mark and leaves the rest (rule 2).
EPOLL_HANGUP = _RDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
EPOLL_URGENT = select.EPOLLPRI
EPOLL_EDGE = select.EPOLLET
INTEREST_READ = select.EPOLLIN | _RDHUP
INTEREST_WRITE = select.EPOLLOUT
INTEREST_URGENT = select.EPOLLPRI
INTEREST_STREAM = INTEREST_READ | INTEREST_URGENT
INTEREST_HANGUP = _RDHUP  # the kernel adds HUP and ERR itself, epoll_ctl(2)
# The size that asyncio reads. From 128 KiB on glibc maps each block by itself (mmap(2), page faults, munmap(2)), which costs
# more than the read. A loop raises that limit: KEPT_HEAP in loop/event_loop.py.
READ_SIZE = 262144
MAX_CHUNKS = 1024  # IOV_MAX

# Not time.monotonic itself: freezegun replaces that in every module, and a loop whose clock stands still never wakes up.
now = functools.partial(time.monotonic)


def close(fd: int) -> None:
    """Close a descriptor. EINTR is no error: Linux has closed it then, close(2)."""
    os.close(fd)
