"""examples/fastapi_app.py, started as its reader would start it and used by real clients."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType
from example_process import ExampleProcess, eventually, example_of_a_module, example_of_a_test
from recording import Run

LINE = "to be or not to be"
WORDS = {"to": 2, "be": 2, "or": 1, "not": 1}
SERVICE_RESTART = 1012  # what uvicorn closes a WebSocket with when it stops; RFC 6455's registry of close codes


app = example_of_a_module("fastapi_app.py")
own_app = example_of_a_test("fastapi_app.py")


def curl(*arguments: str, body: str | None = None) -> tuple[int, Any]:
    """The status and the JSON of the answer."""
    command = ["curl", "--silent", "--show-error", "--max-time", "60", "-w", "\n%{http_code}", *arguments]
    done = subprocess.run(command, input=body, check=True, capture_output=True, text=True)
    answer, _, code = done.stdout.rpartition("\n")
    return int(code), json.loads(answer)


def post(app: ExampleProcess, document: str) -> tuple[int, Any]:
    # Through a pipe: a command line has no room for a text of a megabyte.
    return curl("-H", "Content-Type: application/json", "-d", "@-", f"{app.url}/texts", body=document)


def test_json_to_curl(app: ExampleProcess, loop: asyncio.AbstractEventLoop) -> None:
    status, facts = curl(f"{app.url}/json")
    assert status == 200
    # The server says which loop it is on: the one under test.
    assert facts["loop"] == f"{type(loop).__module__}.{type(loop).__qualname__}"


@pytest.mark.edgeloop_only
def test_edition(app: ExampleProcess) -> None:
    import edgeloop

    assert curl(f"{app.url}/json")[1]["edition"] == edgeloop.EDITION


def test_text_is_counted_in_the_background(app: ExampleProcess) -> None:
    status, text = post(app, json.dumps({"text": LINE}))
    assert status == 202
    assert (text["text"], text["words"]) == (LINE, None)
    address = f"{app.url}/texts/{text['number']}"
    assert eventually(lambda: curl(address)[1]["words"] is not None)
    assert curl(address) == (200, {**text, "words": WORDS})


@pytest.mark.parametrize("document", ["", "{", "{}", '{"text": ""}', '{"text": 1}'])
def test_bad_text(app: ExampleProcess, document: str) -> None:
    status, answer = post(app, document)
    assert status == 422
    assert answer["detail"]


def test_text_that_is_not_there(app: ExampleProcess) -> None:
    assert curl(f"{app.url}/texts/0") == (404, {"detail": "there is no text 0"})


def test_page_of_the_application(app: ExampleProcess) -> None:
    status, description = curl(f"{app.url}/openapi.json")
    assert status == 200
    assert set(description["paths"]) == {"/json", "/texts", "/texts/{number}", "/ticks"}
    page = subprocess.run(["curl", "-sf", f"{app.url}/docs"], check=True, capture_output=True, text=True).stdout
    assert "/openapi.json" in page


def test_streamed_answer_is_whole(app: ExampleProcess) -> None:
    lines = subprocess.run(
        ["curl", "-sSf", "--max-time", "60", f"{app.url}/ticks?count=5000"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(5000))


async def test_streamed_answer_comes_line_by_line(app: ExampleProcess) -> None:
    # The second line would take a minute: the first is here, or this is where the test fails by its timeout.
    async with ClientSession() as session, session.get(f"{app.url}/ticks?count=2&every=60") as answer:
        line = await asyncio.wait_for(answer.content.readline(), 30)
        assert json.loads(line)["number"] == 0


def test_client_that_leaves_in_the_middle(app: ExampleProcess, run: Run) -> None:
    async def leave() -> None:
        async with ClientSession() as session:
            for _ in range(10):
                async with session.get(f"{app.url}/ticks?count=1000000") as answer:
                    assert json.loads(await answer.content.readline())["number"] == 0
                    answer.close()

    before = app.descriptors()
    run(leave())
    assert eventually(lambda: app.descriptors() <= before)
    assert curl(f"{app.url}/json")[0] == 200


async def test_news_reach_every_listener(app: ExampleProcess) -> None:
    async with ClientSession() as session:
        listeners = [await session.ws_connect(f"{app.url}/news") for _ in range(5)]
        for number, listener in enumerate(listeners):
            await listener.send_str(f"grüße {number}")
            assert await listener.receive_json() == {"you said": f"grüße {number}"}
        for _ in range(3):
            async with session.post(f"{app.url}/texts", json={"text": LINE}) as answer:
                number = (await answer.json())["number"]
            for listener in listeners:
                assert await listener.receive_json() == {"number": number, "words": WORDS}
        await listeners.pop().close()
        async with session.post(f"{app.url}/texts", json={"text": "who is left"}) as answer:
            assert answer.status == 202
        for listener in listeners:
            assert set((await listener.receive_json())["words"]) == {"who", "is", "left"}
            await listener.close()


def test_large_text(app: ExampleProcess) -> None:
    word = os.urandom(5).hex()
    status, text = post(app, json.dumps({"text": f"{word} " * 90_000}))
    assert status == 202
    assert eventually(lambda: curl(f"{app.url}/texts/{text['number']}")[1]["words"] == {word: 90_000})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stops_cleanly_with_a_websocket_open(own_app: ExampleProcess, run: Run, number: signal.Signals) -> None:
    async def talk() -> None:
        async with ClientSession() as session, session.ws_connect(f"{own_app.url}/news") as listener:
            await listener.send_str("hello")
            assert await listener.receive_json() == {"you said": "hello"}
            own_app.process.send_signal(number)
            last = await listener.receive()
            assert last.type is WSMsgType.CLOSE
            assert last.data == SERVICE_RESTART

    run(talk())
    assert own_app.process.wait(30) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((own_app.host, own_app.port))
