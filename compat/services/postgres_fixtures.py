"""PostgreSQL for the tests of our own: one server for all that leave it running, one of its own for each that doesn't."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .postgres_server import PostgresServer


def own() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


server = pytest.fixture(scope="session")(own)
own_server = pytest.fixture(own)
