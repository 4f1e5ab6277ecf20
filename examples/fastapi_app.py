"""A FastAPI application under uvicorn on edgeloop: texts come in as JSON, are counted in the background, and are told of.

    python examples/fastapi_app.py --port 8080
    curl http://127.0.0.1:8080/json                                                       # which loop answers
    curl --json '{"text": "to be or not to be"}' http://127.0.0.1:8080/texts              # answers at once
    curl http://127.0.0.1:8080/texts/1                                                    # counted by now
    curl -N 'http://127.0.0.1:8080/ticks?count=5&every=1'                                 # a streamed answer

``/news`` is a WebSocket that hears of every text that is counted, and ``/docs`` the page that FastAPI makes of all this.
With uvicorn's own command it is: uvicorn --loop edgeloop:new_event_loop fastapi_app:app
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import platform
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

import uvicorn
from fastapi import BackgroundTasks, FastAPI, HTTPException, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

import edgeloop

GRACE = 5  # seconds that requests under way have when the server stops
SLOWEST = 5.0  # seconds a listener may take to make room for one piece of news
KEPT = 1000  # texts that are kept

app = FastAPI(title="Texts on edgeloop")
numbers = itertools.count(1)
texts: dict[int, Text] = {}
listeners: set[WebSocket] = set()


class NewText(BaseModel):
    """What comes in."""

    text: str = Field(min_length=1, max_length=1_000_000)


class Text(NewText):
    """What is known of a text; ``words`` once it is counted: the most frequent ones, and how often they stand in it."""

    number: int
    words: dict[str, int] | None = None


@app.get("/json")
async def facts() -> dict[str, str]:
    """What runs here."""
    loop = type(asyncio.get_running_loop())
    return {
        "loop": f"{loop.__module__}.{loop.__qualname__}",
        "edition": edgeloop.EDITION,
        "python": platform.python_version(),
    }


@app.post("/texts", status_code=202)
async def add(new: NewText, background: BackgroundTasks) -> Text:
    """Take a text. The answer doesn't wait for the counting."""
    text = Text(number=next(numbers), text=new.text)
    texts[text.number] = text
    texts.pop(text.number - KEPT, None)
    background.add_task(count, text)
    return text


@app.get("/texts/{number}")
async def look_up(number: int) -> Text:
    if number not in texts:
        raise HTTPException(404, f"there is no text {number}")
    return texts[number]


async def count(text: Text) -> None:
    """The background task: count in a thread, since that is work for the processor, then tell."""
    text.words = await asyncio.to_thread(lambda: dict(Counter(text.text.lower().split()).most_common(10)))
    news = json.dumps({"number": text.number, "words": text.words})
    await asyncio.gather(*(tell(listener, news) for listener in listeners.copy()))


async def tell(listener: WebSocket, news: str) -> None:
    try:
        await asyncio.wait_for(listener.send_text(news), SLOWEST)
    except (TimeoutError, RuntimeError, WebSocketDisconnect):  # it doesn't listen, or has left meanwhile
        listeners.discard(listener)


@app.websocket("/news")
async def hear(listener: WebSocket) -> None:
    """Hears of every text that is counted. What it says itself is sent back to it."""
    await listener.accept()
    listeners.add(listener)
    try:
        async for said in listener.iter_text():
            await listener.send_text(json.dumps({"you said": said}))
    finally:
        listeners.discard(listener)


@app.get("/ticks")
async def ticks(
    count: Annotated[int, Query(ge=0, le=1_000_000)] = 10, every: Annotated[float, Query(ge=0, le=60)] = 0
) -> StreamingResponse:
    """``count`` lines of JSON, one ``every`` so many seconds, sent as they come into being."""
    clock = asyncio.get_running_loop().time

    async def lines() -> AsyncIterator[str]:
        start = clock()
        for number in range(count):
            line: dict[str, Any] = {"number": number, "at": round(clock() - start, 6)}
            yield json.dumps(line) + "\n"
            await asyncio.sleep(every)

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def serve(host: str, port: int) -> None:
    with socket.create_server((host, port)) as listener:
        print("http://{}:{}".format(*listener.getsockname()[:2]), flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE)
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A FastAPI application on edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 lets the kernel choose (default: %(default)s)")
    arguments = parser.parse_args()
    # When all is shut down, uvicorn raises the signal that has ended it once more.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        edgeloop.run(serve(arguments.host, arguments.port))
