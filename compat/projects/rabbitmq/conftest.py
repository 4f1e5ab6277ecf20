"""RabbitMQ for the tests of our own: one for all, of which those that restart it are the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rabbitmq_service import RabbitServer


@pytest.fixture(scope="session")
def server() -> Iterator[RabbitServer]:
    with RabbitServer() as server:
        yield server
