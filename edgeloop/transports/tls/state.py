"""Where a TLS connection stands, and how a read ended: plain numbers, compared on every call."""

from __future__ import annotations

# The life of a connection, always forward: the next one, or CLOSED. FLUSHING: nothing more is delivered to the application,
# but something it wrote has not been encrypted yet. SHUTDOWN: our close_notify (RFC 8446, section 6.1) is sent, the peer's
# awaited.
NEW = 0
HANDSHAKE = 1
OPEN = 2
FLUSHING = 3
SHUTDOWN = 4
CLOSED = 5

NAMES = ("new", "handshake", "open", "flushing", "shutdown", "closed")

# How a read ended: there is more to decrypt; the next record is not complete; the peer's close_notify came; an error.
MORE = 0
WANT_READ = 1
EOF = 2
FAILED = 3
