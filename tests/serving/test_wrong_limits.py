"""Limits that are none: the error names the argument, and no server is made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have no limits


async def tell(transport: Any) -> None:
    """No overload callable: it would have to be awaited."""


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"max_connections": 1.5}, TypeError),
        ({"max_connections": True}, TypeError),
        ({"max_connections": 0}, ValueError),
        ({"max_connections_per_peer": "2"}, TypeError),
        ({"max_connections_per_peer": -1}, ValueError),
        ({"idle_timeout": "soon"}, TypeError),
        ({"idle_timeout": 0}, ValueError),
        ({"write_timeout": float("nan")}, ValueError),
        ({"max_lifetime": float("inf")}, ValueError),
        ({"read_rate": b"1"}, TypeError),
        ({"write_rate": -1}, ValueError),
        ({"overload": "queue", "max_connections": 1}, ValueError),
        ({"overload": tell, "max_connections": 1}, TypeError),
        ({"overload": "refuse"}, ValueError),
    ],
)
async def test_a_limit_that_is_none_is_refused(wrong: dict[str, Any], error: type[Exception]) -> None:
    loop: Any = asyncio.get_running_loop()
    with pytest.raises(error, match=next(iter(wrong))):
        await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, **wrong)
