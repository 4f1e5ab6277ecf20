"""What stands on aioquic's page, run as it stands there but for the port."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from edgeloop_compat_pages import program


def free_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("server_program", ["quic_server.py", "quic_offload.py"])
def test_server_and_client(server_program: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(tmp_path / "cert.pem", append=True)
    port = str(free_port())
    for name in (server_program, "quic_client.py"):
        (tmp_path / name).write_text(program(name).replace("8080", port))
    server = subprocess.Popen([sys.executable, server_program], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        assert server.stdout.readline() == "serving on <class 'edgeloop.loop.EventLoop'>\n"
        for _ in range(3):
            client = subprocess.run(
                [sys.executable, "quic_client.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
            )
            assert (client.returncode, client.stdout, client.stderr) == (0, "HELLO, QUIC\n", "")
    finally:
        server.kill()
        server.communicate()
