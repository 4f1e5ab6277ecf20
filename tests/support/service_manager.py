"""What systemd does for a service: descriptors from 3 on, the variables that tell of them, and a place to be notified at."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

# Runs in the child: moves the sockets to where they belong and becomes the program. LISTEN_PID is known only here.
_LAUNCHER = """
import fcntl, os, sys
count = int(sys.argv[1])
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[2:2 + count]]
for place, fd in enumerate(high, 3):
    os.dup2(fd, place)
    os.close(fd)
os.environ["LISTEN_PID"] = os.environ.get("LISTEN_PID") or str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2 + count:]])
"""


def start(sockets: Sequence[socket.socket], *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start Python with ``arguments``, and with the sockets as a service manager passes them."""
    fds = [str(sock.fileno()) for sock in sockets]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
    environment |= {"LISTEN_FDS": str(len(fds))} | variables
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(len(fds)), *fds, *arguments],
        env=environment,
        pass_fds=[sock.fileno() for sock in sockets],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(sockets: Sequence[socket.socket], program: str, **variables: str) -> str:
    """What a program prints that ends by itself; it must succeed."""
    with start(sockets, "-c", program, **variables) as process:
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return out


@contextlib.contextmanager
def notified_at(address: str | bytes) -> Iterator[socket.socket]:
    """The manager's end of NOTIFY_SOCKET, non-blocking."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(address)
        yield sock
