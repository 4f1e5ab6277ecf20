"""An aiohttp application on edgeloop: JSON, file upload and download, a WebSocket chat.

    python examples/aiohttp_app.py --port 8080
    curl http://127.0.0.1:8080/json
    curl -T some.iso http://127.0.0.1:8080/files/      # upload; answers with size and SHA-256
    curl -O http://127.0.0.1:8080/files/some.iso       # download
    curl http://127.0.0.1:8080/bytes/1000000000 | wc -c

Open the printed address in a browser for the chat. Uploads go to --files, or to a directory that is removed when the
server stops.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import platform
import tempfile
from functools import partial
from pathlib import Path
from weakref import WeakSet

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler

import edgeloop

FILES = web.AppKey("FILES", Path)
CHAT = web.AppKey("CHAT", set[web.WebSocketResponse])
SOCKETS = web.AppKey("SOCKETS", WeakSet[web.WebSocketResponse])

CHUNK = 1 << 16  # bytes per write of a generated download
SLOWEST = 5.0  # seconds a chat member may take to make room for one message
GRACE = 5.0  # seconds that requests under way have when the server stops

PAGE = """<!doctype html>
<meta charset="utf-8"><title>aiohttp on edgeloop</title>
<h1>aiohttp on edgeloop</h1>
<p><a href="/json">JSON</a>, <a href="/bytes/100000000">a download of 100 MB</a></p>
<p><input id="file" type="file"> <output id="stored"></output></p>
<form id="say"><input id="text" autofocus placeholder="say something"></form>
<pre id="room"></pre>
<script>
const get = id => document.getElementById(id);
const chat = new WebSocket(location.origin.replace(/^http/, "ws") + "/chat");
chat.onmessage = message => get("room").append(message.data + "\\n");
get("say").onsubmit = event => { event.preventDefault(); chat.send(get("text").value); get("text").value = ""; };
get("file").onchange = async () => {
  const file = get("file").files[0];
  const name = file.name.replace(/[^\\w.]/g, "_");
  const answer = await fetch("/files/" + name, {method: "PUT", body: file});
  get("stored").value = await answer.text();
};
</script>
"""


@web.middleware
async def departures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A client that leaves in the middle is everyday life: no traceback in the log for it."""
    try:
        return await handler(request)
    except Exception as reason:
        # aiohttp says it in several ways, of which not all are a ConnectionError.
        if request.transport is None or isinstance(reason, ConnectionError):
            return web.Response(status=499)  # goes nowhere; 499 is what nginx logs for this
        raise


async def page(request: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")


async def facts(request: web.Request) -> web.Response:
    """What runs here, and which connection asked (a client sees by ``peer`` whether its connection was kept)."""
    loop = type(asyncio.get_running_loop())
    return web.json_response(
        {
            "loop": f"{loop.__module__}.{loop.__qualname__}",
            "edition": edgeloop.EDITION,
            "python": platform.python_version(),
            "peer": request.transport and request.transport.get_extra_info("peername"),
        }
    )


async def upload(request: web.Request) -> web.Response:
    """Store the body as it comes in. The file appears under its name only when it is whole."""
    name = request.match_info["name"]
    digest, size = hashlib.sha256(), 0
    descriptor, partly = tempfile.mkstemp(prefix=".upload-", dir=request.app[FILES])
    try:
        with open(descriptor, "wb") as file:

            def store(chunk: bytes) -> None:
                digest.update(chunk)
                file.write(chunk)

            # Hashing and the disk go to a thread. While it works, aiohttp pauses the connection as soon as its own
            # buffer is full, so that memory stays bounded however large the body is.
            async for chunk in request.content.iter_chunked(1 << 20):
                await asyncio.to_thread(store, chunk)
                size += len(chunk)
        os.replace(partly, request.app[FILES] / name)
    except BaseException:
        os.unlink(partly)
        raise
    return web.json_response({"name": name, "size": size, "sha256": digest.hexdigest()}, status=201)


async def download(request: web.Request) -> web.FileResponse:
    file = request.app[FILES] / request.match_info["name"]
    if not file.is_file():
        raise web.HTTPNotFound
    return web.FileResponse(file)


async def generate(request: web.Request) -> web.StreamResponse:
    """``count`` bytes that come from nowhere: the numbers 0, 1, 2 ... of 16 digits, each filling one chunk."""
    count = int(request.match_info["count"])
    response = web.StreamResponse()
    response.content_length = count
    response.content_type = "application/octet-stream"
    await response.prepare(request)
    for number in range(-(-count // CHUNK)):
        chunk = b"%016d" % number * (CHUNK // 16)
        # write() waits while the client doesn't read, so one chunk is all that is made ahead.
        await response.write(chunk[: count - number * CHUNK])
    return response


async def echo(request: web.Request) -> web.WebSocketResponse:
    """A WebSocket that sends back each message as it came, text as text and binary as binary."""
    socket = await open_socket(request, max_message=1 << 26)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def chat(request: web.Request) -> web.WebSocketResponse:
    """A WebSocket in the chat room: what one says, all hear. Whoever doesn't listen is put out."""
    socket = await open_socket(request, max_message=4096)
    room = request.app[CHAT]
    room.add(socket)
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await asyncio.gather(*(tell(room, member, message.data) for member in room))
    finally:
        room.discard(socket)
    return socket


async def tell(room: set[web.WebSocketResponse], member: web.WebSocketResponse, text: str) -> None:
    try:
        await asyncio.wait_for(member.send_str(text), SLOWEST)
    except (TimeoutError, ConnectionError):
        room.discard(member)


async def open_socket(request: web.Request, max_message: int) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=max_message, heartbeat=30)
    await socket.prepare(request)
    request.app[SOCKETS].add(socket)
    return socket


async def goodbye(app: web.Application) -> None:
    """Close the WebSockets when the server stops; their handlers would keep it waiting."""
    for socket in app[SOCKETS].copy():
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops")


def application(files: Path) -> web.Application:
    """The application. ``files`` is the directory that uploads go to and downloads come from."""
    app = web.Application(middlewares=[departures])
    app[FILES] = files
    app[CHAT] = set()
    app[SOCKETS] = WeakSet()
    app.on_shutdown.append(goodbye)
    # The pattern leaves out "%", and with it every escaped "/" that could lead out of the directory.
    name = r"{name:\w[\w.-]*}"
    app.add_routes(
        [
            web.get("/", page),
            web.get("/json", facts),
            web.put(f"/files/{name}", upload),
            web.get(f"/files/{name}", download),
            web.get(r"/bytes/{count:\d+}", generate),
            web.get("/echo", echo),
            web.get("/chat", chat),
        ]
    )
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An aiohttp application on edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 lets the kernel choose (default: %(default)s)")
    parser.add_argument("--files", type=Path, help="directory for uploads (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeloop-") as temporary:
        web.run_app(
            application(arguments.files or Path(temporary)),
            host=arguments.host,
            port=arguments.port,
            loop=edgeloop.new_event_loop(),
            print=partial(print, flush=True),
            shutdown_timeout=GRACE,
        )
