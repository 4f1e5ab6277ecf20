"""What tls_certificates.py uses of trustme, made by the openssl program: trustme needs a package that PyPy may not have.

``openssl x509`` takes the dates of a certificate from OpenSSL 3.4 on.
"""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest

AUTHORITY = """\
[req]
distinguished_name = name
prompt = no
[name]
O = edgeloop's tests
[of_authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[of_leaf]
basicConstraints = critical, CA:FALSE
subjectAltName = critical, {names}
authorityKeyIdentifier = keyid
"""


class Blob:
    """A part of a certificate or key, as PEM."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def bytes(self) -> bytes:
        return self._data

    def write_to_path(self, path: Path) -> None:
        path.write_bytes(self._data)


class LeafCert:
    """A certificate and its key."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self.cert_chain_pems = [Blob(certificate)]
        self.private_key_pem = Blob(key)

    def configure_cert(self, context: ssl.SSLContext) -> None:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(self.private_key_pem.bytes() + self.cert_chain_pems[0].bytes())
            file.flush()
            context.load_cert_chain(file.name)


class CA:
    """An authority."""

    def __init__(self) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("neither trustme nor openssl is installed here")
        self._files: dict[str, bytes] = {}
        making = ("req", "-x509", "-new", *_new_key("authority"), "-extensions", "of_authority")
        made = self._openssl("DNS:localhost", making)
        self._files = {name: made[name] for name in ("authority.pem", "authority.key")}
        self.cert_pem = Blob(self._files["authority.pem"])

    def _openssl(self, names: str, *commands: tuple[str, ...]) -> dict[str, bytes]:
        """Run the commands in a folder that has the authority's files. Return all files there are then, by name."""
        with tempfile.TemporaryDirectory() as path:
            folder = Path(path)
            for name, data in self._files.items():
                (folder / name).write_bytes(data)
            (folder / "openssl.cnf").write_text(AUTHORITY.format(names=names))
            for arguments in commands:
                done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stderr
            return {file.name: file.read_bytes() for file in folder.iterdir()}

    def configure_trust(self, context: ssl.SSLContext) -> None:
        context.load_verify_locations(cadata=self.cert_pem.bytes().decode())

    def issue_cert(
        self, *names: str, not_before: datetime.datetime | None = None, not_after: datetime.datetime | None = None
    ) -> LeafCert:
        now = datetime.datetime.now(datetime.UTC)
        begin = not_before or now - datetime.timedelta(days=1)
        end = not_after or now + datetime.timedelta(days=1)
        signing = (
            *("x509", "-req", "-in", "leaf.pem", "-CA", "authority.pem", "-CAkey", "authority.key"),
            *("-out", "leaf.crt", "-extfile", "openssl.cnf", "-extensions", "of_leaf"),
            *("-not_before", f"{begin:%Y%m%d%H%M%SZ}", "-not_after", f"{end:%Y%m%d%H%M%SZ}"),
        )
        alternatives = ", ".join(map(_alternative_name, names))
        made = self._openssl(alternatives, ("req", "-new", *_new_key("leaf")), signing)
        return LeafCert(made["leaf.crt"], made["leaf.key"])


def _new_key(name: str) -> tuple[str, ...]:
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    return (*kind, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-config", "openssl.cnf")


def _alternative_name(name: str) -> str:
    if "@" in name:
        return f"email:{name}"
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return f"DNS:{name}"
    return f"IP:{name}"
