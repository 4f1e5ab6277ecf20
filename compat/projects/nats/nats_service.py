"""nats-server on loopback, with JetStream, for the tests."""

from __future__ import annotations

from services import certificates
from services.ports import answer
from services.service import Service

CONFIGURATION = """
listen: "127.0.0.1:{port}"
max_payload: 8388608
max_pending: 268435456
jetstream {{ store_dir: "{folder}/jetstream" }}
"""

TLS = """
tls {{ cert_file: "{folder}/server.crt", key_file: "{folder}/server.key", timeout: 30 }}
"""


class NatsServer(Service):
    """One nats-server; its streams outlive a restart.

    ``tls``: it then asks every client for TLS, with a certificate for localhost that ``authority`` has signed.
    """

    name = "nats"

    def __init__(self, tls: bool = False) -> None:
        super().__init__()
        self.tls = tls
        self.authority = certificates.write_for_localhost(self.folder)
        said = CONFIGURATION + (TLS if tls else "")
        (self.folder / "nats.conf").write_text(said.format(port=self.port, folder=self.folder))

    @property
    def url(self) -> str:
        return f"{'tls' if self.tls else 'nats'}://localhost:{self.port}"

    def command(self) -> list[str]:
        return ["nats-server", "-c", str(self.folder / "nats.conf")]

    def serves(self) -> bool:
        return answer(self.port).startswith(b"INFO")
