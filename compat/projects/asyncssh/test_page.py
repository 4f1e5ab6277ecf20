"""What stands on asyncssh's page, run as it stands there but for the port."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from edgeloop_compat_pages import command, program


@pytest.fixture
def port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return str(one.getsockname()[1])


@pytest.fixture
def folder(tmp_path: Path, port: str) -> Iterator[Path]:
    """Where the page's server runs, with the keys it needs."""
    host, client = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    host.write_private_key(tmp_path / "host_key")
    client.write_private_key(tmp_path / "client_key")
    client.write_public_key(tmp_path / "client_key.pub")
    (tmp_path / "client_key").chmod(0o600)
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {host.export_public_key().decode()}")
    for name in ("ssh_server.py", "ssh_client.py"):
        (tmp_path / name).write_text(program(name).replace("8080", port))
    server = subprocess.Popen([sys.executable, "ssh_server.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        assert server.stdout.readline() == "serving on <class 'edgeloop.loop.EventLoop'>\n"
        yield tmp_path
    finally:
        server.kill()
        server.communicate()


def test_the_client_on_the_page(folder: Path) -> None:
    done = subprocess.run([sys.executable, "ssh_client.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "HELLO, SSH 3\n", "")


def test_opensshs_client(folder: Path, port: str) -> None:
    words = [port if word == "8080" else word for word in command("ssh -p")]
    done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
