"""nginx from Debian's package as a child process: a generated configuration, free ports, everything on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def eventually(holds: Callable[[], object], what: str) -> None:
    """Wait until ``holds()``; AssertionError when even a busy machine should have got there."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.02)


class Nginx:
    def __init__(self, directory: Path, port: int, process: subprocess.Popen[bytes], scheme: str) -> None:
        self.directory = directory
        self.port = port
        self.process = process
        self.url = f"{scheme}://127.0.0.1:{port}"

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def listens(self) -> bool:
        assert self.process.poll() is None, self.log()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def workers(self) -> set[int]:
        """The process ids of the worker processes, those that are shutting down included."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(pid) for pid in children.split()}

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def nginx(
    directory: Path,
    upstream: str,
    *,
    scheme: str = "http",
    listen: str = "",
    server: str = "",
    location: str = UNBUFFERED,
    workers: int = 1,
) -> Iterator[Nginx]:
    """nginx as a proxy in front of ``upstream``, ``HOST:PORT`` or ``unix:PATH``; ended at the end.

    ``scheme`` is how nginx talks to the application; ``listen``, ``server`` and ``location`` go into the
    configuration where their names say.
    """
    directory = directory / "nginx"
    directory.mkdir()
    port = free_port()
    configuration = CONFIGURATION.format(
        # Workers of a master that is root would otherwise be nobody, who can't reach a socket in a test's folder.
        user="user root;" if os.geteuid() == 0 else "",
        directory=directory,
        upstream=upstream,
        port=port,
        scheme=scheme,
        listen=listen,
        server=server,
        location=location,
        workers=workers,
    )
    (directory / "nginx.conf").write_text(configuration)
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is not installed"
    with (directory / "log").open("wb") as log:
        command = [program, "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", "stderr"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running = Nginx(directory, port, process, "https" if "ssl" in listen else "http")
    try:
        # The master listens before it has its workers.
        eventually(lambda: running.listens() and len(running.workers()) == workers, "nginx and its workers are there")
        yield running
    finally:
        process.terminate()
        process.wait()
