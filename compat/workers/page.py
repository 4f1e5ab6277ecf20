"""The servers on a project's page, started as they stand there: on edgeloop in either run, since the page says so."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .served import Served, free_port, served

if TYPE_CHECKING:
    from compat import pages
else:
    import edgeloop_compat_pages as pages


def serves(
    directory: Path, start: str, *programs: str, workers: int = 2, use: Callable[[Served], None] | None = None
) -> None:
    """Run the page's command that starts so, or its program called so, beside ``programs``: every worker answers.

    ``use`` may do more with the server before it is ended.
    """
    port = free_port()
    for name in programs:
        (directory / name).write_text(pages.program(name).replace("8080", str(port)))
    command = ["python", start] if start in programs else pages.command(start)
    command = [part.replace("8080", str(port)) for part in command]
    # gunicorn keeps its control socket there.
    with served(*command, directory=directory, port=port, environment={"XDG_RUNTIME_DIR": str(directory)}) as server:
        server.loop = "<class 'edgeloop.loop.EventLoop'>"
        server.answering(workers)
        if use:
            use(server)
        server.signal(signal.SIGTERM)
        # uvicorn without workers raises the signal again when all is shut down.
        assert server.wait() in (0, -signal.SIGTERM)
        server.check_log()
