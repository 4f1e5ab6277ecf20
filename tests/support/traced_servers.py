"""The servers of the benchmarks, ours and the one in C, with strace looking on while a client talks to them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.processes import Bench, Server, serving

SECONDS = 30.0
QUIET = 0.05  # so long without a call: the server sleeps


class TracedServer:
    """A server under strace. ``address`` is a port of 127.0.0.1, or the path of a Unix socket."""

    def __init__(self, server: Server, log: Path) -> None:
        self.address = server.address
        self._strace = server.pid
        self._log = log

    def calls(self, conversation: Callable[[], None]) -> Counter[str]:
        """How often the server makes each system call because of what is said to it."""
        before = self._lines()
        conversation()
        return Counter(re.findall(r"^(\w+)\(", self._lines()[len(before) :], re.MULTILINE))

    def _lines(self) -> str:
        # A line is written when its call is over: the epoll_wait in which the server sleeps is not among them.
        text = ""
        while True:
            time.sleep(QUIET)
            now = self._log.read_text()
            if now == text:
                return text
            text = now

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The server stands still: what is sent to it meanwhile waits for it together."""
        children = Path(f"/proc/{self._strace}/task/{self._strace}/children").read_text()
        pid = int(children)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(QUIET)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def traced(bench: Bench, service: str, loop: str, size: int) -> Iterator[TracedServer]:
    """A server of the benchmarks: ``service`` and ``loop`` as they name them."""
    log = bench.programs / f"{service}-{loop}.strace"
    with serving(replace(bench, watched=("strace", "-o", str(log))), service, loop, size) as server:
        yield TracedServer(server, log)


def connected(address: str, tls: bool = False) -> socket.socket:
    """A connection to a server, which raises TimeoutError rather than wait for long."""
    if address.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(SECONDS)
        sock.connect(address)
        return sock
    sock = socket.create_connection(("127.0.0.1", int(address)), SECONDS)
    if not tls:
        return sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


def receive(sock: socket.socket, size: int) -> None:
    """Read so many bytes."""
    while size:
        got = len(sock.recv(size))
        assert got, "the server has closed the connection"
        size -= got
