"""nginx from Debian's package as a child process: a generated configuration, free ports, everything on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable

from services.ports import listens
from services.service import Service, children

CONFIGURATION = """
{user}
daemon off;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    scgi_temp_path {directory}/scgi;
    uwsgi_temp_path {directory}/uwsgi;
    client_max_body_size 0;
    map $http_upgrade $connection_header {{ default upgrade; "" ""; }}
    upstream application {{
        server {upstream};
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:{port}{listen};
        {server}
        location / {{
            proxy_pass {scheme}://application;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_header;
            {location}
        }}
    }}
}}
"""
UNBUFFERED = "proxy_buffering off; proxy_request_buffering off;"


def eventually(holds: Callable[[], object], what: str) -> None:
    """Wait until ``holds()``; AssertionError when even a busy machine should have got there."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.02)


def program() -> str:
    """Where it is: Debian's package puts it into a folder that not every PATH has."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "nginx is not installed"
    return found


class Nginx(Service):
    """nginx as a proxy in front of ``upstream``, ``HOST:PORT`` or ``unix:PATH``.

    ``scheme`` is how nginx talks to the application; ``listen``, ``server`` and ``location`` go into the
    configuration where their names say.
    """

    name = "nginx"

    def __init__(
        self,
        upstream: str,
        *,
        scheme: str = "http",
        listen: str = "",
        server: str = "",
        location: str = UNBUFFERED,
        workers: int = 1,
    ) -> None:
        super().__init__()
        self.url = f"{'https' if 'ssl' in listen else 'http'}://127.0.0.1:{self.port}"
        self._count = workers
        configuration = CONFIGURATION.format(
            # Workers of a master that is root would otherwise be nobody, who can't reach a socket in a test's folder.
            user="user root;" if os.geteuid() == 0 else "",
            directory=self.folder,
            upstream=upstream,
            port=self.port,
            scheme=scheme,
            listen=listen,
            server=server,
            location=location,
            workers=workers,
        )
        (self.folder / "nginx.conf").write_text(configuration)

    def command(self) -> list[str]:
        return [program(), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"]

    def serves(self) -> bool:
        # The master listens before it has its workers.
        return listens(self.port) and len(self.workers()) == self._count

    def workers(self) -> set[int]:
        """The process ids of the worker processes, those that are shutting down included."""
        assert self.process
        return set(children(self.process.pid))

    def reload(self) -> None:
        self.send(signal.SIGHUP)
