"""System calls that the os module of some interpreters leaves out: PyPy, and a CPython that was built on an old system.

What the os and signal modules have is taken from there. The rest is asked of the C library through ctypes, with the same
arguments, return values and exceptions. ctypes is imported when the first of these is needed.

- The caller owns what ``new_eventfd`` and ``pidfd_open`` return: close-on-exec, and the eventfd non-blocking.
- A kernel or a sandbox that has no such call: OSError, ENOSYS or EPERM.
- ``has_ended`` and ``wait_until_ended`` leave the child's status to waitpid(2), and raise ChildProcessError if it was taken.
- Only ``wait_until_ended`` blocks, without the GIL. Any thread may call.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
from typing import Any

# The numbers are those of <sys/eventfd.h>, <asm-generic/unistd.h> and <linux/wait.h>.
_EVENTFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_PIDFD_SEND_SIGNAL = 424
_PIDFD_OPEN = 434
_P_PID = 1
_WNOHANG = 0x1
_WEXITED = 0x4
_WNOWAIT = 0x1000000
_SIGINFO_SIZE = 128


@functools.cache
def _c_library() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> int:
    """Call a function of the C library. Return its result; raise the OSError of errno if that is -1."""
    import ctypes

    function = getattr(_c_library(), name, None)
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    while True:
        result: int = function(*arguments)
        if result != -1:
            return result
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def new_eventfd() -> int:
    """Return the descriptor of a new eventfd(2)."""
    if hasattr(os, "eventfd"):
        return os.eventfd(0, _EVENTFD_FLAGS)
    return _call("eventfd", 0, _EVENTFD_FLAGS)


def pidfd_open(pid: int) -> int:
    """Return a descriptor that is readable once the process has ended, pidfd_open(2)."""
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    return _call("syscall", _PIDFD_OPEN, pid, 0)


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """Send a signal to the process of a pidfd, which can't hit a stranger: pidfd_send_signal(2)."""
    if hasattr(signal, "pidfd_send_signal"):
        signal.pidfd_send_signal(pidfd, number)
    else:
        _call("syscall", _PIDFD_SEND_SIGNAL, pidfd, int(number), None, 0)


def _waitid(pid: int, options: int) -> bool:
    """Return True if the child has ended, waitid(2). It stays a zombie."""
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, pid, options) is not None
    import ctypes

    # Its first number, si_signo, is SIGCHLD, or 0 if the child runs.
    siginfo = (ctypes.c_int * (_SIGINFO_SIZE // ctypes.sizeof(ctypes.c_int)))()
    _call("waitid", _P_PID, pid, siginfo, options)
    return siginfo[0] != 0


def has_ended(pid: int) -> bool:
    """Return True if the child has ended."""
    return _waitid(pid, _WEXITED | _WNOHANG | _WNOWAIT)


def reap(pid: int) -> int | None:
    """Take the status of a child that has ended: its exit code, -N if signal N ended it. None if it has not ended.

    Raise ChildProcessError if somebody else has taken it. A MemoryError leaves it to be taken: waitpid(2) itself would lose it
    where there is no memory for its result.
    """
    if not hasattr(os, "waitid"):
        pid, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None
    ended = os.waitid(os.P_PID, pid, _WEXITED | _WNOHANG | _WNOWAIT)
    if ended is None:
        return None
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    try:
        os.waitpid(pid, os.WNOHANG)
    except MemoryError:
        pass  # what it says is known
    return code


def wait_until_ended(pid: int) -> None:
    """Return when the child has ended."""
    _waitid(pid, _WEXITED | _WNOWAIT)
