"""examples/trio_guest.py: sensors speak to trio, browsers to aiohttp, in one process."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession
from example_process import EXAMPLES, ExampleProcess, environment, example_of_a_test
from recording import Run

station = example_of_a_test("trio_guest.py", "--sensors-port", "0")


async def sensors(session: ClientSession, station: ExampleProcess) -> tuple[str, int]:
    """The address that sensors report to."""
    async with session.get(station.url + "/") as answer:
        host, port = (await answer.json())["sensors"]
    return host, port


async def newest(session: ClientSession, station: ExampleProcess) -> dict[str, float]:
    async with session.get(station.url + "/") as answer:
        found: dict[str, float] = (await answer.json())["newest"]
    return found


async def event(watch: ClientResponse) -> str:
    """The next event's data."""
    line = await watch.content.readline()
    assert await watch.content.readline() == b"\n"
    return line.decode().removeprefix("data: ").rstrip("\n")


async def test_readings_go_from_sensors_to_watchers(station: ExampleProcess) -> None:
    async with ClientSession() as session:
        address = await sensors(session, station)
        async with session.get(station.url + "/watch") as first, session.get(station.url + "/watch") as second:
            assert first.headers["Content-Type"] == "text/event-stream"
            connections = [await asyncio.open_connection(*address) for _ in range(5)]
            for round_ in range(200):
                for number, (_, writer) in enumerate(connections):
                    reading = f"sensor{number} {round_}"
                    writer.write(reading.encode() + b"\n")
                    for watch in (first, second):
                        assert await event(watch) == reading
        assert await newest(session, station) == {f"sensor{number}": 199.0 for number in range(5)}
        for _, writer in connections:
            writer.close()
            await writer.wait_closed()


async def test_lines_in_pieces_and_many_at_once(station: ExampleProcess) -> None:
    async with ClientSession() as session:
        reader, writer = await asyncio.open_connection(*await sensors(session, station))
        async with session.get(station.url + "/watch") as watch:
            writer.write(b"kitc")
            await asyncio.sleep(0.05)
            writer.write(b"hen 21.5\ncellar 12\nattic ")
            assert [await event(watch), await event(watch)] == ["kitchen 21.5", "cellar 12"]
            writer.write(b"-3\n")
            assert await event(watch) == "attic -3"
        writer.write_eof()
        assert await reader.read() == b""
        assert await newest(session, station) == {"kitchen": 21.5, "cellar": 12.0, "attic": -3.0}
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"one two three\n", b"a reading is a name and a number, not 'one two three'"),
        (b"kitchen warm\n", b"a reading is a name and a number, not 'kitchen warm'"),
        (b"\xff\xfe\n", b"'utf-8' codec can't decode"),
        (b"x" * 300, b"a line has at most 200 bytes"),
    ],
)
async def test_a_sensor_that_sends_something_else(station: ExampleProcess, sent: bytes, reason: bytes) -> None:
    async with ClientSession() as session:
        reader, writer = await asyncio.open_connection(*await sensors(session, station))
        writer.write(sent)
        assert (await reader.readline()).startswith(b"goodbye: " + reason)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert await newest(session, station) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_with_both_kinds_connected(station: ExampleProcess, run: Run, number: signal.Signals) -> None:
    async def talk() -> None:
        async with ClientSession() as session:
            reader, writer = await asyncio.open_connection(*await sensors(session, station))
            async with session.get(station.url + "/watch") as watch:
                writer.write(b"kitchen 20\n")
                assert await event(watch) == "kitchen 20"
                station.process.send_signal(number)
                assert await watch.content.read() == b""
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(talk())
    assert station.process.wait(30) == 0


@pytest.mark.parametrize(("taken", "free"), [("--port", "--sensors-port"), ("--sensors-port", "--port")])
def test_a_port_that_is_taken_ends_it_with_the_reason(
    request: pytest.FixtureRequest, tmp_path: Path, taken: str, free: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "trio_guest.py"), taken, port, free, "0"],
            env=environment(request.config, tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert "address already in use" in done.stderr.lower()
    assert "abandoned" not in done.stderr
    assert done.stdout == ""
