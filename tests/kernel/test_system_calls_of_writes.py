"""How many system calls the writes of a callback and of a turn take, once a connection has earned to have them gathered.

A preloaded library counts them. strace would make each call last as long as what a connection is trusted for.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from example_process import environment
from kernel_truth import measured

pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather]

COUNTER = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stdio.h>
    #include <sys/socket.h>

    static int sends;

    ssize_t send(int fd, const void *data, size_t size, int flags) {
        sends++;
        return ((ssize_t (*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send"))(fd, data, size, flags);
    }

    ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
        sends++;
        return ((ssize_t (*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg"))(fd, message, flags);
    }

    __attribute__((destructor)) static void tell(void) {
        printf("%d\\n", sends);
    }
"""

PROGRAM = """
    import asyncio, socket, sys
    import edgeloop

    async def main(rounds):
        loop = asyncio.get_running_loop()
        listening = socket.create_server(("127.0.0.1", 0))
        transport, _ = await loop.create_connection(asyncio.Protocol, *listening.getsockname())
        theirs, _ = listening.accept()
        listening.close()
        theirs.setblocking(False)
        for _ in range(rounds):
            {round}
        transport.abort()
        theirs.close()

    edgeloop.run(main(int(sys.argv[1])))
"""
HEADER_AND_BODY = "transport.write(b'header'); transport.write(b'body'); await asyncio.sleep(0)"
TASKS = """
            for _ in range(100):
                loop.call_soon(transport.write, b'.')
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            theirs.recv(65536)
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counter")
    source, library = folder / "counter.c", folder / "counter.so"
    source.write_text(dedent(COUNTER))
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def sends(one_round: str, rounds: int, counter: Path, config: pytest.Config, given: bool = False) -> int:
    script = PROGRAM.format(round=one_round.strip())
    if given:
        script = script.replace("asyncio.Protocol, *listening.getsockname()", "asyncio.Protocol, sock=connected")
        script = script.replace(
            "transport, _ =", "connected = socket.create_connection(listening.getsockname())\n        transport, _ ="
        )
    counts = []
    for number in (20, 20 + rounds):
        command = [sys.executable, "-c", dedent(script), str(number)]
        variables = {**environment(config, counter.parent), "LD_PRELOAD": str(counter)}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        counts.append(int(done.stdout))
    return counts[1] - counts[0]


@measured
def test_header_and_body_are_one_send(counter: Path, pytestconfig: pytest.Config) -> None:
    """A few more where the machine had other things to do in between."""
    assert sends(HEADER_AND_BODY, 200, counter, pytestconfig) <= 220


@measured
def test_a_hundred_callbacks_that_write_take_a_few_sends(counter: Path, pytestconfig: pytest.Config) -> None:
    """asyncio makes a hundred. Not one: none waits for long."""
    assert sends(TASKS, 50, counter, pytestconfig) <= 50 * 10


def test_a_socket_that_somebody_else_has_is_sent_to_at_once(counter: Path, pytestconfig: pytest.Config) -> None:
    """Its owner may shut it down, or write to it, and we would not see that."""
    assert sends(HEADER_AND_BODY, 50, counter, pytestconfig, given=True) == 100
