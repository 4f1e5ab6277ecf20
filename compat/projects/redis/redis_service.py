"""redis-server on loopback, for the tests: on ports of the kernel's choice, with its data in a temporary folder.

As a plugin of the project's own suite (``-p redis_service``) it starts one for the whole run and tells the suite where.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
from services.running import free_port


class RedisServer:
    """One redis-server: ``start``, ``stop`` (in order, data saved), ``kill`` (at once), ``end`` (with its folder).

    ``port`` speaks plain, ``tls_port`` TLS with a certificate for localhost that the authority ``ca.crt`` in the folder
    ``certificates`` has signed; ``client.crt`` and ``test_user.crt`` there are for clients. They stay the same over
    restarts.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.certificates = self.folder / "certificates"
        self.certificates.mkdir()
        self._write_certificates()
        self.port = free_port()
        self.tls_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://localhost:{self.port}/0"

    def _write_certificates(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.certificates / "ca.crt"))
        for name, certificate in {
            "redis": authority.issue_cert("localhost", "127.0.0.1"),
            "client": authority.issue_cert("client.example"),
            "test_user": authority.issue_cert(common_name="test_user"),
        }.items():
            certificate.private_key_pem.write_to_path(str(self.certificates / f"{name}.key"))
            for pem in certificate.cert_chain_pems:
                pem.write_to_path(str(self.certificates / f"{name}.crt"), append=True)

    def start(self) -> None:
        """Start it on the same ports as before, with the data that was saved, and wait until it answers."""
        options = {
            "port": self.port,
            "tls-port": self.tls_port,
            "tls-cert-file": self.certificates / "redis.crt",
            "tls-key-file": self.certificates / "redis.key",
            "tls-ca-cert-file": self.certificates / "ca.crt",
            "tls-auth-clients": "optional",
            "bind": "127.0.0.1",
            "dir": self.folder,
            "unixsocket": self.folder / "socket",
            "save": "3600 1",
            "maxclients": 4000,
            "enable-debug-command": "yes",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        while not self._answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"redis-server ended with status {self.process.returncode}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port)) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(100).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config.option, "redis_url"):  # not the project's suite
        return
    server: Any = RedisServer()
    config.add_cleanup(server.end)
    server.start()
    config.option.redis_url = server.url
    config.option.redis_ssl_url = f"rediss://localhost:{server.tls_port}"
    # Its TLS tests look for the certificates of the project's containers here.
    expected = config.rootpath / "dockers" / "standalone" / "tls"
    expected.parent.mkdir(parents=True, exist_ok=True)
    expected.unlink(missing_ok=True)  # of an earlier run in this folder
    expected.symlink_to(server.certificates)
