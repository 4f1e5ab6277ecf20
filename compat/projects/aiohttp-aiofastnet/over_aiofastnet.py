"""A pytest plugin: every loop that the policy makes gets aiofastnet's networking methods, whichever class it is of.

aiohttp doesn't use aiofastnet by itself. This is aiofastnet's own way to switch it on for code that asks asyncio for loops.
"""

from __future__ import annotations

import asyncio
import warnings

import aiofastnet
import pytest


async def _transport_module() -> str:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    transport.abort()
    server.close()
    return type(transport).__module__


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        aiofastnet.install_policy()
    module = asyncio.run(_transport_module())
    if not module.startswith("aiofastnet."):
        raise RuntimeError(f"connections should be aiofastnet's, and are of {module}")
