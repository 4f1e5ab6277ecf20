"""Every program of examples/, started as its reader would start it and used by real clients."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, WSCloseCode, WSMsgType
from example_process import EXAMPLES, ExampleProcess, environment, example_of_a_module, example_of_a_test
from recording import Run

app = example_of_a_module("aiohttp_app.py")
own_app = example_of_a_test("aiohttp_app.py")
echo = example_of_a_test("echo_protocol.py")
chat = example_of_a_test("streams_chat.py")


def curl(*arguments: str) -> bytes:
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60", *arguments],
        check=True,
        capture_output=True,
    ).stdout


def test_aiohttp_json_to_its_own_client_and_to_curl(
    app: ExampleProcess, run: Run, loop: asyncio.AbstractEventLoop
) -> None:
    async def ask() -> tuple[dict[str, Any], str]:
        async with ClientSession() as session, session.get(f"{app.url}/json") as answer:
            return await answer.json(), answer.headers["Content-Type"]

    facts, content_type = run(ask())
    assert content_type.startswith("application/json")
    assert facts["python"].startswith("{}.{}.".format(*sys.version_info))
    # The server says which loop it is on: the one under test, in the edition under test.
    assert facts["loop"] == f"{type(loop).__module__}.{type(loop).__qualname__}"
    by_curl = json.loads(curl(f"{app.url}/json"))
    assert by_curl["loop"] == facts["loop"]
    assert by_curl["edition"] == facts["edition"]


@pytest.mark.edgeloop_only
def test_example_runs_in_the_edition_of_these_tests(app: ExampleProcess) -> None:
    import edgeloop

    assert json.loads(curl(f"{app.url}/json"))["edition"] == edgeloop.EDITION


def test_aiohttp_page_names_the_chat(app: ExampleProcess) -> None:
    page = curl(app.url + "/").decode()
    assert page.startswith("<!doctype html>")
    assert '"/chat"' in page


def test_aiohttp_upload_and_download_with_curl(app: ExampleProcess, tmp_path: Path) -> None:
    data = os.urandom(3_000_017)
    (tmp_path / "some.bin").write_bytes(data)
    stored = json.loads(curl("-T", str(tmp_path / "some.bin"), f"{app.url}/files/"))
    assert stored == {"name": "some.bin", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert curl(f"{app.url}/files/some.bin") == data
    # A range of the file: the server's sendfile with an offset and a count.
    assert curl("-r", "1000000-1999999", f"{app.url}/files/some.bin") == data[1_000_000:2_000_000]


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "%2e%2e/", ".hidden", "missing"])
def test_aiohttp_download_of_no_such_file(app: ExampleProcess, name: str) -> None:
    code = subprocess.run(
        ["curl", "-s", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", f"{app.url}/files/{name}"],
        check=True,
        capture_output=True,
    ).stdout
    assert code == b"404"


@pytest.mark.parametrize("count", [0, 1, 65_536, 1_000_001])
def test_aiohttp_generates_exactly_what_is_asked_for(app: ExampleProcess, count: int) -> None:
    expected = b"".join(b"%016d" % number * 4096 for number in range(16))[:count]
    assert curl(f"{app.url}/bytes/{count}") == expected


async def test_websocket_echo(app: ExampleProcess) -> None:
    blob = os.urandom(2_000_003)

    async with ClientSession() as session, session.ws_connect(f"{app.url}/echo", max_msg_size=0) as ws:
        await ws.send_str("grüße")
        assert await ws.receive_str() == "grüße"
        await ws.send_bytes(blob)
        assert await ws.receive_bytes() == blob
        await ws.send_bytes(b"")
        assert await ws.receive_bytes() == b""
        for number in range(500):  # all sent before the first is read
            await ws.send_str(str(number))
        assert [await ws.receive_str() for _ in range(500)] == [str(number) for number in range(500)]


async def test_websocket_chat_reaches_everybody(app: ExampleProcess) -> None:
    async with ClientSession() as session:
        members = [await session.ws_connect(f"{app.url}/chat") for _ in range(10)]
        for number, member in enumerate(members):
            await member.send_str(f"from {number}")
            for listener in members:
                assert await listener.receive_str() == f"from {number}"
        await members.pop().close()
        await members[0].send_str("who is left?")
        for listener in members:
            assert await listener.receive_str() == "who is left?"
            await listener.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_aiohttp_stops_cleanly_with_a_websocket_open(own_app: ExampleProcess, run: Run, number: signal.Signals) -> None:
    async def talk() -> None:
        async with ClientSession() as session, session.ws_connect(f"{own_app.url}/chat") as ws:
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"
            own_app.process.send_signal(number)
            last = await ws.receive()
            assert last.type is WSMsgType.CLOSE
            assert last.data == WSCloseCode.GOING_AWAY

    run(talk())
    assert own_app.process.wait(30) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((own_app.host, own_app.port))


@pytest.mark.parametrize("script", ["aiohttp_app.py", "echo_protocol.py", "fastapi_app.py", "streams_chat.py"])
def test_a_port_that_is_taken_ends_the_example_with_the_reason(
    request: pytest.FixtureRequest, tmp_path: Path, script: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / script), "--port", port],
            env=environment(request.config, tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert "address already in use" in done.stderr.lower()
    assert done.stdout == ""


async def test_protocol_echo(echo: ExampleProcess) -> None:
    reader, writer = await asyncio.open_connection(echo.host, echo.port)
    for size in (1, 100, 1024, 65_536, 65_537, 300_000):
        data = os.urandom(size)
        writer.write(data)
        assert await reader.readexactly(size) == data
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_protocol_echo_stops_cleanly_with_connections_open(echo: ExampleProcess, number: signal.Signals) -> None:
    with socket.create_connection((echo.host, echo.port), timeout=30) as client:
        client.sendall(b"before")
        assert client.recv(100) == b"before"
        echo.process.send_signal(number)
        assert client.recv(100) == b"", "the server closes, it doesn't reset"
        assert echo.process.wait(30) == 0


class ChatClient:
    """A person in the streams chat."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def enter(cls, server: ExampleProcess, name: str) -> ChatClient:
        self = cls(*await asyncio.open_connection(server.host, server.port))
        assert await self.hear() == "* your name?"
        self.say(name)
        return self

    def say(self, text: str) -> None:
        self.writer.write(text.encode() + b"\n")

    async def hear(self) -> str:
        return (await self.reader.readline()).decode().rstrip("\n")

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_streams_chat(chat: ExampleProcess) -> None:
    ann = await ChatClient.enter(chat, "ann")
    assert await ann.hear() == "* ann has joined"
    bob = await ChatClient.enter(chat, "ann")
    assert await bob.hear() == "* another name, please"
    bob.say("bob")
    for member in (ann, bob):
        assert await member.hear() == "* bob has joined"
    ann.say("hello, ünïcödé")
    for member in (ann, bob):
        assert await member.hear() == "ann: hello, ünïcödé"
    ann.say("/who")
    assert await ann.hear() == "* here: ann, bob"
    bob.say("/quit")
    assert await bob.hear() == ""
    assert await ann.hear() == "* bob has left"
    await bob.leave()
    await ann.leave()


async def test_streams_chat_answers_a_member_that_has_half_closed(chat: ExampleProcess) -> None:
    ann = await ChatClient.enter(chat, "ann")
    for number in range(900):
        ann.say(f"{number} " + "x" * 1000)
    ann.say("/history")
    ann.writer.write_eof()
    heard = (await ann.reader.read()).decode().splitlines()
    spoken = [f"ann: {number} " + "x" * 1000 for number in range(900)]
    assert heard == ["* ann has joined", *spoken, "| * ann has joined", *("| " + line for line in spoken)]
    await ann.leave()


async def test_streams_chat_says_goodbye_to_bad_lines(chat: ExampleProcess) -> None:
    for bad in (b"x" * 10_000 + b"\n", b"\xff\xfe\n"):
        ann = await ChatClient.enter(chat, "ann")
        assert await ann.hear() == "* ann has joined"
        ann.writer.write(bad)
        assert (await ann.hear()).startswith("* goodbye: ")
        assert await ann.hear() == ""
        await ann.leave()


def test_streams_chat_drops_a_member_that_does_not_read(chat: ExampleProcess, run: Run) -> None:
    async def talk() -> None:
        deaf = await ChatClient.enter(chat, "deaf")
        assert await deaf.hear() == "* deaf has joined"
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typeshed: WriteTransport
        ann = await ChatClient.enter(chat, "ann")
        assert await ann.hear() == "* ann has joined"
        said = 0
        # What the two kernel buffers take is the kernel's choice, so speak until the room has had enough.
        while (heard := await say_and_hear(ann, said)) != "* deaf has left":
            assert heard.startswith(f"ann: {said} ")
            said += 1
            assert said < 100_000
        ann.say("/who")
        while not (heard := await ann.hear()).startswith("* here:"):
            pass
        assert heard == "* here: ann"
        await ann.leave()
        deaf.writer.transport.abort()

    async def say_and_hear(member: ChatClient, number: int) -> str:
        member.say(f"{number} " + "x" * 4000)
        return await member.hear()

    run(talk())


def test_streams_chat_stops_cleanly_with_members(chat: ExampleProcess, run: Run) -> None:
    async def talk() -> None:
        ann = await ChatClient.enter(chat, "ann")
        assert await ann.hear() == "* ann has joined"
        chat.process.send_signal(signal.SIGINT)
        assert await ann.reader.read() in (b"", b"* ann has left\n")
        await ann.leave()

    run(talk())
    assert chat.process.wait(30) == 0
