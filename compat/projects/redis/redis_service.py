"""redis-server on loopback, for the tests: on ports of the kernel's choice, with its data in a temporary folder.

As a plugin of the project's own suite (``-p redis_service``) it starts one for the whole run and tells the suite where.
"""

from __future__ import annotations

from typing import Any

import pytest
import trustme
from services import certificates
from services.ports import free_port
from services.redis_server import RedisServer


class RedisWithTLS(RedisServer):
    """One redis-server, which saves its data where it stops in order.

    ``port`` speaks plain, ``tls_port`` TLS with a certificate for localhost that the authority ``ca.crt`` in the folder
    ``certificates`` has signed; ``client.crt`` and ``test_user.crt`` there are for clients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tls_port = free_port()
        self.certificates = self.folder / "certificates"
        self.certificates.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.certificates / "ca.crt"))
        certificates.write(authority.issue_cert("localhost", "127.0.0.1"), self.certificates / "redis")
        certificates.write(authority.issue_cert("client.example"), self.certificates / "client")
        certificates.write(authority.issue_cert(common_name="test_user"), self.certificates / "test_user")

    def options(self) -> dict[str, object]:
        return {
            "tls-port": self.tls_port,
            "tls-cert-file": self.certificates / "redis.crt",
            "tls-key-file": self.certificates / "redis.key",
            "tls-ca-cert-file": self.certificates / "ca.crt",
            "tls-auth-clients": "optional",
            "save": "3600 1",
            "maxclients": 4000,
        }


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config.option, "redis_url"):  # not the project's suite
        return
    server: Any = RedisWithTLS()
    config.add_cleanup(server.end)
    server.start()
    config.option.redis_url = server.url
    config.option.redis_ssl_url = f"rediss://localhost:{server.tls_port}"
    # Its TLS tests look for the certificates of the project's containers here.
    expected = config.rootpath / "dockers" / "standalone" / "tls"
    expected.parent.mkdir(parents=True, exist_ok=True)
    expected.unlink(missing_ok=True)  # of an earlier run in this folder
    expected.symlink_to(server.certificates)
