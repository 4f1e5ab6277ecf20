"""What debug mode logs of connections, servers, pipes, lookups and children, as asyncio's loop does."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recording import Recorder, until
from sockets import Pair
from tls_certificates import client_context, server_context


@pytest.fixture
def logged(loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log of a loop in debug mode, whose callbacks are none too slow."""
    loop.set_debug(True)
    loop.slow_callback_duration = 60.0
    caplog.set_level(logging.DEBUG, "asyncio")
    return caplog


def levels_of(logged: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [record.levelname for record in logged.records if part in record.getMessage()]


async def test_an_accepted_connection_and_its_pauses_are_logged(logged: pytest.LogCaptureFixture, pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, pair[0])
    assert levels_of(logged, " handled: (<") == ["DEBUG"]
    transport.pause_reading()
    transport.resume_reading()
    assert levels_of(logged, " pauses reading") == ["DEBUG"]
    assert levels_of(logged, " resumes reading") == ["DEBUG"]
    transport.abort()


async def test_a_connection_that_is_reset_is_logged(logged: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    assert levels_of(logged, " is serving") == ["INFO"]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        _, protocol = await loop.create_connection(Recorder, *listening.getsockname())
        accepted, _ = listening.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        accepted.close()
        assert isinstance(await protocol.lost(), ConnectionResetError)
    assert levels_of(logged, "Fatal read error on socket transport") == ["DEBUG"]
    server.close()


@pytest.mark.parametrize(("bound", "level"), [(True, "INFO"), (False, "DEBUG")])
async def test_a_datagram_endpoint_is_logged(logged: pytest.LogCaptureFixture, bound: bool, level: str) -> None:
    loop = asyncio.get_running_loop()
    where: Any = {"local_addr" if bound else "remote_addr": ("127.0.0.1", 0 if bound else 9)}
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, **where)
    assert levels_of(logged, "Datagram endpoint ") == [level]
    transport.close()


async def test_pipes_and_their_ends_are_logged(logged: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = os.pipe()
    _, protocol = await loop.connect_read_pipe(Recorder, open(ours, "rb", 0))
    assert levels_of(logged, "Read pipe ") == ["DEBUG"]
    os.close(theirs)
    await protocol.lost()
    assert levels_of(logged, " was closed by peer") == ["INFO"]
    theirs, ours = os.pipe()
    _, protocol = await loop.connect_write_pipe(Recorder, open(ours, "wb", 0))
    assert levels_of(logged, "Write pipe ") == ["DEBUG"]
    os.close(theirs)
    await protocol.lost()
    assert levels_of(logged, " was closed by peer") == ["INFO", "INFO"]


@pytest.mark.parametrize(("limit", "level"), [(60.0, "DEBUG"), (0.0, "INFO")])
async def test_a_lookup_is_logged_and_louder_if_it_was_slow(
    logged: pytest.LogCaptureFixture, limit: float, level: str
) -> None:
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = limit
    await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    loop.slow_callback_duration = 60.0
    assert levels_of(logged, "Get address info ") == ["DEBUG"]
    assert levels_of(logged, "Getting address info ") == [level]


class Child(asyncio.SubprocessProtocol):
    def __init__(self) -> None:
        self.over = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


@pytest.mark.parametrize("shell", [False, True])
async def test_a_child_is_logged_from_its_beginning_to_its_end(logged: pytest.LogCaptureFixture, shell: bool) -> None:
    loop = asyncio.get_running_loop()
    streams: Any = {"stdin": None, "stdout": subprocess.PIPE, "stderr": None}
    if shell:
        transport, protocol = await loop.subprocess_shell(Child, "exit 3", **streams)
    else:
        program = (sys.executable, "-c", "raise SystemExit(3)")
        transport, protocol = await loop.subprocess_exec(Child, *program, **streams)
    assert levels_of(logged, "stdout=<pipe>") == ["DEBUG"]
    assert levels_of(logged, f"created: pid {transport.get_pid()}") == ["DEBUG"]
    await protocol.over.wait()
    assert levels_of(logged, "exited with return code 3") == ["INFO"]
    transport.close()


async def test_a_child_that_is_killed_by_close_is_warned_of(logged: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(Child, "sleep", "1000", stdin=None)
    transport.close()
    assert levels_of(logged, "Close running child process: kill ") == ["WARNING"]
    await protocol.over.wait()
    assert transport.get_returncode() == -signal.SIGKILL


async def test_the_end_of_a_tls_connection_is_logged(logged: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    served: list[Recorder] = []

    def accepted() -> Recorder:
        served.append(Recorder())
        return served[0]

    server = await loop.create_server(accepted, "127.0.0.1", 0, ssl=server_context())
    transport, protocol = await loop.create_connection(
        Recorder, *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
    )
    transport.get_extra_info("socket").shutdown(socket.SHUT_WR)  # without a close_notify
    await served[0].lost()
    assert levels_of(logged, " received EOF")
    await protocol.lost()
    server.close()


async def test_a_handshake_that_fails_is_reported_in_debug_mode_alone(logged: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=server_context())
    for debug in (False, True):
        loop.set_debug(debug)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(b"no TLS at all\r\n" * 10)
            client.setblocking(False)
            while await loop.sock_recv(client, 1000):
                pass
    await until(lambda: bool(reports))
    assert [report["message"] for report in reports] == ["Error on transport creation for incoming connection"]
    server.close()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio's servers remove their paths from Python 3.13 on")
async def test_a_path_that_can_not_be_removed_is_logged(logged: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    server = await asyncio.get_running_loop().create_unix_server(Recorder, str(folder / "socket"))
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("a file is no folder")
    server.close()
    await server.wait_closed()
    assert levels_of(logged, "Unable to clean up listening UNIX socket ") == ["ERROR"]


async def test_a_path_that_can_not_be_freed_is_logged(logged: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "file" / "socket"
    path.parent.write_text("a file is no folder")
    with pytest.raises(NotADirectoryError):
        await loop.create_unix_server(Recorder, str(path))
    assert levels_of(logged, "Unable to check or remove stale UNIX socket ") == ["ERROR"]
    with pytest.raises(NotADirectoryError):
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=str(path), family=socket.AF_UNIX)
    assert levels_of(logged, "Unable to check or remove stale UNIX socket ") == ["ERROR", "ERROR"]
