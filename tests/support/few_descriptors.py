"""A server that has few descriptors left, in a process of its own: the limit (setrlimit(2)) holds for a whole process."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence

PRELUDE = """
import asyncio, os, resource
import {module}

def limit_to(spare):
    # The limit is one above the highest number in use, so count from the top.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + spare, 4096))

def use_up_descriptors():
    # Those it returns can be closed, to have them free again.
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
    limit_to(1)
    while True:  # numbers between those in use
        try:
            held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return held

class Hello(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"hello")
        connections.append(self)

    def connection_lost(self, exc):
        lost.append(self)

connections, lost, reports = [], [], []

def keep(loop, context):
    reports.append(context)

async def until(predicate):
    while not predicate():
        await asyncio.sleep(0.001)

def run(main):
    with asyncio.Runner(loop_factory={module}.{name}) as runner:
        runner.get_loop().set_exception_handler(keep)
        runner.run(main())
"""

# Clients live in the test's process, so that only the server's end counts against the limit.
SERVER = """
async def main():
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Hello, "127.0.0.1", 0, backlog=100) as server:
        limit_to({spare})
        print(server.sockets[0].getsockname()[1], flush=True)
        {body}
run(main)
"""


def start(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], program: str, under: Sequence[str] = ()
) -> subprocess.Popen[str]:
    prelude = PRELUDE.format(module=loop_factory.__module__, name=loop_factory.__qualname__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [*under, sys.executable, "-c", prelude + program],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def body(code: str, spare: int) -> str:
    return SERVER.format(body=textwrap.indent(textwrap.dedent(code), " " * 8).strip(), spare=spare)


class Clients:
    """Connections to a port of another process; ``answers()`` tells which of them got what."""

    def __init__(self, port: int, count: int) -> None:
        self.socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for sock in self.socks:
            sock.settimeout(30)

    def answer(self, index: int) -> bytes:
        try:
            return self.socks[index].recv(100)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        for sock in self.socks:
            sock.close()


def finish(child: subprocess.Popen[str], told: str = "\n") -> str:
    output, errors = child.communicate(told, timeout=60)
    assert child.returncode == 0, errors
    return output
