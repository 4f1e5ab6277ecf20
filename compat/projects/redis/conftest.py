"""redis-servers for the tests of our own: one for all that leave it running, one of its own for each that doesn't."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis_service import RedisWithTLS


@pytest.fixture(scope="session")
def one_server() -> Iterator[RedisWithTLS]:
    yield from own()


@pytest.fixture
def server(one_server: RedisWithTLS) -> RedisWithTLS:
    """A running server without any data."""
    with redis.Redis.from_url(one_server.url) as client:
        client.flushall()
    return one_server


def own() -> Iterator[RedisWithTLS]:
    with RedisWithTLS() as server:
        yield server


own_server = pytest.fixture(own)
