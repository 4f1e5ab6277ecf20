"""Certificates as services want them, in files."""

from __future__ import annotations

from pathlib import Path

import trustme


def write(certificate: trustme.LeafCert, path: Path) -> None:
    """Into the files ``path`` with .crt (and what is between it and its authority) and with .key (for the owner alone)."""
    key = path.with_name(path.name + ".key")
    certificate.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    path.with_name(path.name + ".crt").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))


def write_for_localhost(folder: Path) -> Path:
    """A server's into server.crt and server.key of ``folder``; returns the file of the authority that has signed it."""
    authority = trustme.CA()
    write(authority.issue_cert("localhost", "127.0.0.1"), folder / "server")
    (folder / "authority.pem").write_bytes(authority.cert_pem.bytes())
    return folder / "authority.pem"
