"""examples/redis_app.py: two of its servers, with clients of both, and a Redis that restarts below them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import create_connection
from typing import IO, Any

from redis_service import RedisWithTLS

SCRIPT = Path(os.environ["EDGELOOP_COMPAT_ROOT"]) / "examples" / "redis_app.py"


@contextmanager
def app(server: RedisWithTLS) -> Iterator[int]:
    """One server of the example; its port. At the end it is stopped, and has to stop well."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--port", "0", "--redis", server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        address = re.search(r":(\d+)$", process.stdout.readline())
        assert address
        yield int(address[1])
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=30)
        assert (process.returncode, complaints) == (0, "")
    finally:
        process.kill()
        process.communicate()


class Client:
    def __init__(self, stack: ExitStack, port: int, room: str) -> None:
        self.sock = stack.enter_context(create_connection(("127.0.0.1", port), timeout=30))
        self.file: IO[Any] = stack.enter_context(self.sock.makefile("rwb", buffering=0))
        self.say(room)

    def say(self, line: str) -> None:
        self.file.write(line.encode() + b"\n")

    def hear(self) -> str:
        line: bytes = self.file.readline()
        return line.decode().rstrip("\n")


def test_rooms_of_two_servers(own_server: RedisWithTLS) -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(app(own_server)) for _ in range(2))
        ann, ben, eve = (Client(stack, *where) for where in ((one, "tea"), (two, "tea"), (two, "coffee")))
        for client in (ann, ben, eve):
            assert client.hear() == "* you are in"
        for number in range(100):
            speaker, listener = (ann, ben) if number % 2 else (ben, ann)
            speaker.say(f"line {number}")
            assert speaker.hear() == listener.hear() == f"line {number}"

        late = Client(stack, one, "tea")
        assert [late.hear() for _ in range(51)] == [*(f"| line {number}" for number in range(50, 100)), "* you are in"]

        eve.say("nobody else is here")
        assert eve.hear() == "nobody else is here"


def test_redis_restarts(own_server: RedisWithTLS) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(app(own_server))
        ann = Client(stack, port, "tea")
        assert ann.hear() == "* you are in"
        ann.say("before")
        assert ann.hear() == "before"
        own_server.stop()
        own_server.start()
        # The subscription is back a moment later than the connection that stores lines, and a line said between
        # is in the room's history only.
        ann.sock.settimeout(0.2)
        for number in range(100):
            ann.say(f"after {number}")
            try:
                heard = ann.hear()
            except TimeoutError:
                ann.file = stack.enter_context(ann.sock.makefile("rwb", buffering=0))
                continue
            assert heard.startswith("after ")
            break
        else:
            raise AssertionError("nothing is heard any more")
