"""``ServerStatus``: what ``Server.status()`` tells."""

from __future__ import annotations

import dataclasses

TIMED_OUT_KINDS = ("idle", "first_byte", "write", "lifetime")


@dataclasses.dataclass(frozen=True, slots=True)
class ServerStatus:
    """A server's counts at one moment.

    A connection is ``open`` from accept(2) until its descriptor is closed; TLS handshakes are included. ``high_mark`` is the
    most that were open at a time. ``accepted`` were served; ``refused`` were turned away, for a limit or for want of
    descriptors. Of these, ``refusing`` are being told why by the program's callable.
    ``timed_out`` counts connections that a deadline has ended: idle, first_byte, write, lifetime. ``full_since`` and
    ``suspended_since`` are None, or ``loop.time()`` when the server stopped accepting: at its limit with overload="wait",
    or by ``suspend`` or the loop's delay. ``delay`` is the loop's last measured delay in seconds, None if nothing measures it.
    """

    open: int
    accepted: int
    refused: int
    timed_out: dict[str, int]
    high_mark: int
    refusing: int = 0
    full_since: float | None = None
    suspended_since: float | None = None
    draining: bool = False
    delay: float | None = None
