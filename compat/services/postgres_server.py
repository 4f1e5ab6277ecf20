"""PostgreSQL's programs for tests that may run as root, which PostgreSQL itself refuses to, and a cluster on loopback.

Debian keeps the programs away from PATH, one folder for each version: the newest is taken.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from . import certificates
from .service import Service

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


class PostgresServer(Service):
    """One cluster, which listens on ``port`` of 127.0.0.1, plain and with TLS, and on a Unix socket in ``folder``.

    The user postgres needs no password. ``authority`` is the file of the authority that signed its certificate, for
    localhost.
    """

    name = "postgresql"
    stops_on = signal.SIGINT  # what it calls a fast shutdown: clients are told that it ends

    def __init__(self) -> None:
        super().__init__()
        self.folder.chmod(0o755)
        (self.folder / "programs").mkdir()
        self.programs = programs(self.folder / "programs")
        self.data = self.folder / "data"
        self.data.mkdir(0o700)
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER)  # for the socket
        subprocess.run(
            [self.programs / "initdb", "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )
        self.authority = certificates.write_for_localhost(self.data)

    def command(self) -> list[str | Path]:
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
        return [self.programs / "postgres", "-D", self.data, *words]

    def serves(self) -> bool:
        ask: list[str | Path] = [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ask, cwd=self.folder).returncode == 0
