"""The application that the servers serve, once for ASGI and once for aiohttp.

======================  =============================================================================================
``/``                   who answers: process, loop, edition of edgeloop
``/numbered/NUMBER``    notes the number in the file ``SERVED_BEGUN``, works for a moment, answers with the number
``/slow/SECONDS``       half an answer, a pause, the other half
``/digest``             how long the body was, and its SHA-256
======================  =============================================================================================
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

# Not above: the application must not be what brings edgeloop in.
Message = dict[str, Any]


def loop_name() -> str:
    cls = type(asyncio.get_running_loop())
    return f"{cls.__module__}.{cls.__qualname__}"


async def pieces(path: str, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The answer to a request, in the pieces in which it is to be sent."""
    _, what, *rest = path.split("/")
    if what == "":
        yield json.dumps({"pid": os.getpid(), "loop": loop_name()}).encode()
    elif what == "numbered":
        with open(os.environ["SERVED_BEGUN"], "a") as begun:
            begun.write(rest[0] + "\n")
        await asyncio.sleep(0.005)
        yield json.dumps({"pid": os.getpid(), "number": rest[0]}).encode()
    elif what == "slow":
        yield b'{"pid": %d, ' % os.getpid()
        await asyncio.sleep(float(rest[0]))
        yield b'"complete": true}'
    elif what == "digest":
        digest, length = hashlib.sha256(), 0
        async for piece in body:
            digest.update(piece)
            length += len(piece)
        yield json.dumps({"length": length, "sha256": digest.hexdigest()}).encode()
    else:
        raise LookupError(path)


async def asgi(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    assert scope["type"] == "http"

    async def body() -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            yield message.get("body", b"")

    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    async for piece in pieces(scope["path"], body()):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def aiohttp_application() -> web.Application:
    from aiohttp import web

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        async for piece in pieces(request.path, request.content.iter_any()):
            await response.write(piece)
        await response.write_eof()
        return response

    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", answer)
    return application
