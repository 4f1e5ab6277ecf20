"""What stands on docs/projects/tornado.md, run as it stands there."""

from __future__ import annotations

from pathlib import Path

from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect
from workers import page
from workers.served import Served


def use(server: Served) -> None:
    """The WebSocket, from tornado's own client."""

    async def echo() -> None:
        socket = await websocket_connect(f"ws://127.0.0.1:{server.port}/echo")
        for text in ("hello", "grüße", "x" * 500_000):
            await socket.write_message(text)
            assert await socket.read_message() == text
        socket.close()

    loop = IOLoop(make_current=False)
    loop.run_sync(echo)
    loop.close()


def test_program(tmp_path: Path) -> None:
    page.serves(tmp_path, "serve.py", "serve.py", workers=1, use=use)


def test_older_program(tmp_path: Path) -> None:
    page.serves(tmp_path, "older.py", "serve.py", "older.py", workers=1)


def test_older_program_as_it_is(tmp_path: Path) -> None:
    page.serves(tmp_path, "python -m edgeloop", "serve.py", "older.py", workers=1)
