"""The numbers of the system calls and of the faults that they may meet, for the trace."""

from __future__ import annotations

CALLS = (
    "epoll_ctl",
    "epoll_wait",
    "eventfd",
    "close",
    "read",
    "write",
    "open",
    "pipe2",
    "dup",
    "fcntl",
    "socket",
    "bind",
    "listen",
    "accept",
    "connect",
    "recv",
    "send",
    "recvfrom",
    "sendto",
    "shutdown",
    "sockopt",
    "name",
    "epoll_create",
    "eventfd_write",
    "epoll_add",
    "dupfd",
    "sendfile",
)
(
    EPOLL_CTL,
    EPOLL_WAIT,
    EVENTFD,
    CLOSE,
    READ,
    WRITE,
    OPEN,
    PIPE2,
    DUP,
    FCNTL,
    SOCKET,
    BIND,
    LISTEN,
    ACCEPT,
    CONNECT,
    RECV,
    SEND,
    RECVFROM,
    SENDTO,
    SHUTDOWN,
    SOCKOPT,
    NAME,
    EPOLL_CREATE,
    EVENTFD_WRITE,
    EPOLL_ADD,
    DUPFD,
    SENDFILE,
) = range(1, len(CALLS) + 1)

# Faults: an errno stands for itself; these are others.
SHORT = -1  # fewer bytes than asked for, or than there are
SPURIOUS = -2  # epoll_wait: an event without a reason
TRUNCATED = -3  # epoll_wait: fewer events than there are
REORDERED = -4  # epoll_wait: the events in another order
EARLY = -5  # epoll_wait: the sleep ends without an event
