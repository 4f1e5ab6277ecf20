"""PostgreSQL's programs for tests that may run as root, which PostgreSQL itself refuses to, and a cluster on loopback.

Debian keeps the programs away from PATH, one folder for each version: the newest is taken.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import trustme

from .running import free_port

USER = "postgres"  # whom Debian's package creates

_AS_USER = """#!/bin/sh
# {program}, as the user {user}, who has to own the data (the -D folder) for that.
previous=
for word; do
    if [ "$previous" = -D ] && [ -d "$word" ]; then chown -R {user}: "$word"; fi
    previous=$word
done
exec setpriv --reuid={user} --regid={user} --init-groups {program} "$@"
"""


def programs(folder: Path) -> Path:
    """A folder with PostgreSQL's programs: Debian's own, or if we are root ``folder``, with scripts that call them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))[-1].parent
    if os.geteuid() != 0:
        return found
    for program in found.iterdir():
        script = folder / program.name
        script.write_text(_AS_USER.format(program=program, user=USER))
        script.chmod(0o755)
    return folder


class PostgresServer:
    """One cluster: ``start``, ``stop`` (in order), ``kill`` (at once), ``end`` (with its folder).

    Listens on ``port`` of 127.0.0.1, plain and with TLS, and on a Unix socket in ``folder``. The user postgres needs no
    password. ``authority`` is the file of the authority that signed its certificate, for localhost.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self.folder.chmod(0o755)
        (self.folder / "programs").mkdir()
        self.programs = programs(self.folder / "programs")
        self.data = self.folder / "data"
        self.data.mkdir(0o700)
        self.authority = self.folder / "authority.pem"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER)  # for the socket
        subprocess.run(
            [self.programs / "initdb", "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(str(self.data / "server.key"))
        (self.data / "server.key").chmod(0o600)
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(str(self.data / "server.crt"), append=True)

    def start(self) -> None:
        """Start it on the port it had before, with its data, and wait until it lets clients in."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "ssl": "on",
            "max_connections": 300,
            "fsync": "off",
            "log_min_messages": "panic",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *words], cwd=self.folder, stdout=log, stderr=log
            )
        ask = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ask, cwd=self.folder).returncode != 0:
            if self.process.poll() is not None:
                raise RuntimeError(f"postgres ended with status {self.process.returncode}: {self.log()}")
            time.sleep(0.05)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        """What it calls a fast shutdown: clients are told that it ends."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the server and to every process it has: its clients see the end of the connection alone."""
        if self.process is not None:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            os.kill(self.process.pid, signal.SIGKILL)
            for child in children:
                try:
                    os.kill(int(child), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)
