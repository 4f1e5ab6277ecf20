"""What stands of asyncpg on PostgreSQL's page, run as it stands there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgeloop_compat_pages import command, program
from services.postgres_server import PostgresServer


def test_program(server: PostgresServer, tmp_path: Path) -> None:
    (tmp_path / "with_asyncpg.py").write_text(program("with_asyncpg.py"))
    words = [word.replace("5432", str(server.port)) for word in command("python with_asyncpg.py")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["<class 'edgeloop.loop.EventLoop'>", "4950", "PostgreSQL is here"]
