"""A server behind a real HAProxy, which says for whom it speaks in each version of the PROXY protocol."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from proxy_headers import names, served
from recording import Recorder, until
from tls_certificates import client_context, server_context

pytestmark = [
    pytest.mark.edgeloop_only,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed here"),
]

CONFIGURATION = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 30s
    timeout client 30s
    timeout server 30s
listen there
    bind {front}
    server one {back} {option}
"""


class Answering(Recorder):
    """Says who it thinks the client is."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(repr((names(self), self.transport.get_extra_info("proxy_protocol").kind)).encode())


@pytest.fixture
def free_port() -> Iterator[int]:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]  # bound, not listening: nobody else gets it meanwhile


async def connection(port: int, process: subprocess.Popen[bytes]) -> socket.socket:
    """A client of the proxy, when that listens."""
    while process.poll() is None:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            return sock
        except ConnectionRefusedError:
            sock.close()
            await asyncio.sleep(0.01)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
async def test_the_client_of_the_proxy_is_the_peer(option: str, secure: bool, tmp_path: Path, free_port: int) -> None:
    context = server_context() if secure else None
    async with served(Answering, ["127.0.0.1"], context=context) as server:
        (tmp_path / "haproxy.cfg").write_text(
            CONFIGURATION.format(front=f"127.0.0.1:{free_port}", back=f"127.0.0.1:{server.address[1]}", option=option)
        )
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(tmp_path / "haproxy.cfg")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            sock = await connection(free_port, process)
            client = sock.getsockname()
            tls: Any = {"ssl": client_context(), "server_hostname": "localhost"} if secure else {}
            reader, writer = await asyncio.open_connection(sock=sock, **tls)
            writer.write(b"who am I?")
            expected = repr(((client, ("127.0.0.1", free_port)), "TCP4")).encode()
            assert await reader.readexactly(len(expected)) == expected
            writer.transport.abort()
            await until(lambda: not server.server.status().open)
        finally:
            process.kill()
            process.communicate()


async def test_a_health_check_of_the_proxy_is_its_own(tmp_path: Path, free_port: int) -> None:
    async with served(Recorder, ["127.0.0.1"]) as server:
        option = "send-proxy-v2 check check-send-proxy inter 20ms"
        (tmp_path / "haproxy.cfg").write_text(
            CONFIGURATION.format(front=f"127.0.0.1:{free_port}", back=f"127.0.0.1:{server.address[1]}", option=option)
        )
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(tmp_path / "haproxy.cfg")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            await until(lambda: process.poll() is not None or any(protocol.calls for protocol in server.made))
            assert process.poll() is None, process.communicate()
            checked = next(protocol for protocol in server.made if protocol.calls)
            assert checked.transport.get_extra_info("proxy_protocol").local
            assert names(checked)[0][0] == "127.0.0.1"
        finally:
            process.kill()
            process.communicate()
