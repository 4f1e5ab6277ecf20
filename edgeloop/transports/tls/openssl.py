"""Which engine a TLS connection gets, for the pure edition; ``openssl.pyx`` is the same interface for the compiled one."""

from __future__ import annotations

import ssl

from .engine import Engine, inner


def engine_of(sslobj: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> Engine:
    """Return the engine of ``sslobj``, which was made with these two."""
    return Engine(inner(sslobj), incoming, outgoing)
