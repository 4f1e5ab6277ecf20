"""Which exceptions leave the loop, and which are reported where they were raised.

A protocol, a callback or a destructor may raise anything. SystemExit and KeyboardInterrupt end the run of the loop, as on
asyncio, and what they interrupted goes on when the loop runs again. Everything else is told to the exception handler.
"""

from __future__ import annotations

INTERRUPTIONS = (SystemExit, KeyboardInterrupt)
"""For ``except INTERRUPTIONS``, where something is to be done before one leaves."""


def raise_interruption(exc: BaseException) -> None:
    """Raise ``exc`` again if it is SystemExit or KeyboardInterrupt. Call it first in ``except BaseException as exc``."""
    if isinstance(exc, INTERRUPTIONS):
        raise exc
