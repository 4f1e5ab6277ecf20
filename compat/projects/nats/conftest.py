"""nats-servers for the tests: one for all that leave it running, one of its own for each that doesn't."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from nats_service import NatsServer


@pytest.fixture(scope="session")
def server() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def own_server(request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    with NatsServer(request.param) as server:
        yield server
