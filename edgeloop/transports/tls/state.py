"""Where a TLS connection stands, and what a read has left behind: plain numbers, compared on every call."""

from __future__ import annotations

# The life of a connection, always forward. FLUSHING: nothing more is delivered to the application, but something it
# wrote has not been encrypted yet. SHUTDOWN: our close_notify (RFC 8446, section 6.1) is under way, the peer's awaited.
NEW = 0
HANDSHAKE = 1
OPEN = 2
FLUSHING = 3
SHUTDOWN = 4
CLOSED = 5

# After decrypting: there is more, nothing yet, the peer's close_notify came, or an error.
MORE = 0
WANT_READ = 1
EOF = 2
FAILED = 3
