"""The servers on a project's page, started as they stand there: on edgeloop in either run, since the page says so."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from .served import free_port, served

if TYPE_CHECKING:
    from compat import pages
else:
    import edgeloop_compat_pages as pages


def serves(directory: Path, start: str, *programs: str, workers: int = 2) -> None:
    """Run the page's command that starts so, or its program called so, beside ``programs``: every worker answers."""
    port = free_port()
    for name in programs:
        (directory / name).write_text(pages.program(name).replace("8080", str(port)))
    command = ["python", start] if start in programs else pages.command(start)
    command = [part.replace("8080", str(port)) for part in command]
    # gunicorn keeps its control socket there.
    with served(*command, directory=directory, port=port, environment={"XDG_RUNTIME_DIR": str(directory)}) as server:
        server.loop = "<class 'edgeloop.loop.EventLoop'>"
        server.answering(workers)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        server.check_log()
