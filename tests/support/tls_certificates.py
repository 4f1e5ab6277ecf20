"""Certificates for the TLS tests, made anew for each run by an authority that only they trust."""

from __future__ import annotations

import datetime
import functools
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme
else:
    try:
        import trustme
    except ImportError:
        import openssl_certificates as trustme

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def new_authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def authority() -> trustme.CA:
    return new_authority()


@functools.cache
def certificate(*names: str, expired: bool = False) -> trustme.LeafCert:
    """A certificate for these host names, addresses or e-mail addresses."""
    if not expired:
        return authority().issue_cert(*names)
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    return authority().issue_cert(*names, not_before=yesterday - datetime.timedelta(days=30), not_after=yesterday)


def server_context(
    *names: str, version: str | None = None, expired: bool = False, ask_client: bool = False
) -> ssl.SSLContext:
    """A server's context; without names its certificate is for localhost. ``ask_client`` demands a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(*(names or ("localhost", "127.0.0.1")), expired=expired).configure_cert(context)
    if ask_client:
        authority().configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return _bound(context, version)


def client_context(*, version: str | None = None, trusting: bool = True) -> ssl.SSLContext:
    """A client's context, that checks host names; with ``trusting=False`` it doesn't know the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusting:
        authority().configure_trust(context)
    return _bound(context, version)


def _bound(context: ssl.SSLContext, version: str | None) -> ssl.SSLContext:
    if version is not None:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def write_files(folder: Path) -> tuple[Path, Path, Path]:
    """For programs that take files: the authority's certificate, the server's with its key, and the key alone."""
    leaf = certificate("localhost", "127.0.0.1")
    trust, chain, key = folder / "authority.pem", folder / "server.pem", folder / "server.key"
    authority().cert_pem.write_to_path(trust)
    chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(key)
    return trust, chain, key
