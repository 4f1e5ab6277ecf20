"""nats-server on loopback, with JetStream, for the tests."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import trustme
from services.running import free_port

CONFIGURATION = """
listen: "127.0.0.1:{port}"
max_payload: 8388608
max_pending: 268435456
jetstream {{ store_dir: "{folder}/jetstream" }}
"""

TLS = """
tls {{ cert_file: "{folder}/server.crt", key_file: "{folder}/server.key", timeout: 30 }}
"""


class NatsServer:
    """One nats-server: ``start``, ``stop`` (in order), ``kill`` (at once), ``end`` (with its folder).

    ``tls``: it then asks every client for TLS, with a certificate for localhost that ``authority`` has signed.
    """

    def __init__(self, tls: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nats-"))
        self.authority = self.folder / "authority.pem"
        self.port = free_port()
        self.tls = tls
        self.process: subprocess.Popen[bytes] | None = None
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(str(self.folder / "server.key"))
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(str(self.folder / "server.crt"), append=True)
        said = CONFIGURATION + (TLS if tls else "")
        (self.folder / "nats.conf").write_text(said.format(port=self.port, folder=self.folder))

    @property
    def url(self) -> str:
        return f"{'tls' if self.tls else 'nats'}://localhost:{self.port}"

    def start(self) -> None:
        """Start it on the port it had before, with its streams, and wait until it greets."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["nats-server", "-c", str(self.folder / "nats.conf")], stdout=log, stderr=log, cwd=self.folder
            )
        while not self._greets():
            if self.process.poll() is not None:
                raise RuntimeError(f"nats-server ended: {(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port)) as sock:
                return sock.recv(100).startswith(b"INFO")
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
