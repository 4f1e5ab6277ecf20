"""granian with several worker processes: reload, a worker that is killed, the end, with both of its kinds of tasks.

granian reads and writes sockets itself, in Rust; the loop runs the application, and hears of requests from other threads.
Its registry of loops is open to a program that starts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from workers.scenarios import ReplacedWorkers
from workers.served import ON_EDGELOOP, Served, served

PROGRAM = """
import sys

from granian import Granian, loops

if ON_EDGELOOP:
    import edgeloop

    @loops.register("auto")
    def build_loop():
        return edgeloop.new_event_loop()


if __name__ == "__main__":
    Granian(
        "workers.served_app:asgi",
        port=int(sys.argv[1]),
        interface="asgi",
        loop="auto" if ON_EDGELOOP else "asyncio",
        workers=2,
        respawn_failed_workers=True,
        respawn_interval=1,
        task_impl=TASKS,
    ).serve()
"""


@pytest.fixture(params=["asyncio", "rust"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    settings = f"ON_EDGELOOP, TASKS = {ON_EDGELOOP}, {request.param!r}\n"
    (tmp_path / "program.py").write_text(settings + PROGRAM)
    with served("python", "program.py", "PORT", directory=tmp_path) as server:
        server.loop_does_the_io = False
        yield server


class TestGranian(ReplacedWorkers):
    pass
