"""Connections to a server of these tests."""

from __future__ import annotations

import ssl
from typing import Any

import nats
from nats.aio.client import Client
from nats_service import NatsServer


async def connect(server: NatsServer, **options: Any) -> Client:
    """A connection that comes back after a lost one, at once and as often as it needs."""
    if server.tls:
        options["tls"] = ssl.create_default_context(cafile=str(server.authority))
    patient = {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.02, "error_cb": quiet}
    return await nats.connect(server.url, **(patient | options))


async def quiet(error: Exception) -> None:
    """Errors of a connection that is lost on purpose."""
