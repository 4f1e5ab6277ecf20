"""nats-servers for the tests: one for all that leave it running, one of its own for each that doesn't."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from nats_service import NatsServer


def running(tls: bool) -> Iterator[NatsServer]:
    server = NatsServer(tls)
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def server() -> Iterator[NatsServer]:
    yield from running(tls=False)


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def own_server(request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    yield from running(tls=request.param)
