"""PostgreSQL for the tests of our own: one server for all that leave it running, one of its own for each that doesn't."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from services.postgres_server import PostgresServer


def own() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.end()


server = pytest.fixture(scope="session")(own)
own_server = pytest.fixture(own)
