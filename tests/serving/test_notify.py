"""What a service manager is told: ``edgeloop.notify`` and ``notify_watchdog``, at a real NOTIFY_SOCKET."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest
from recording import Run, record_errors
from service_manager import notified_at

import edgeloop

pytestmark = pytest.mark.edgeloop_only

Environment = pytest.MonkeyPatch


def abstract_name(monkeypatch: Environment) -> bytes:
    name = f"edgeloop-test-{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    return b"\0" + name.encode()


def test_a_manager_at_a_path_is_told(monkeypatch: Environment, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with notified_at(str(tmp_path / "notify")) as manager:
        assert edgeloop.notify("READY=1", "STATUS=42 rooms, zwölf free", f"MAINPID={os.getpid()}")
        assert manager.recv(1000).decode() == f"READY=1\nSTATUS=42 rooms, zwölf free\nMAINPID={os.getpid()}"


def test_a_manager_with_an_abstract_name_is_told(monkeypatch: Environment) -> None:
    with notified_at(abstract_name(monkeypatch)) as manager:
        assert edgeloop.notify("STOPPING=1", unset_environment=True)
        assert manager.recv(1000) == b"STOPPING=1"
        assert "NOTIFY_SOCKET" not in os.environ
        assert not edgeloop.notify("STOPPING=1")


def test_a_reload_says_when_it_began(monkeypatch: Environment) -> None:
    with notified_at(abstract_name(monkeypatch)) as manager:
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert edgeloop.notify("RELOADING=1")
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        reloading, began = manager.recv(1000).split(b"\n")
        assert reloading == b"RELOADING=1" and began.startswith(b"MONOTONIC_USEC=")
        assert before <= int(began.partition(b"=")[2]) <= after
        assert edgeloop.notify("RELOADING=1", "MONOTONIC_USEC=7")
        assert manager.recv(1000) == b"RELOADING=1\nMONOTONIC_USEC=7"


def test_nobody_is_told_where_nobody_listens(monkeypatch: Environment, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not edgeloop.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nothing"))
    assert not edgeloop.notify("READY=1")
    with notified_at(str(tmp_path / "nothing")):
        pass
    assert not edgeloop.notify("READY=1"), "the file is there, and nobody behind it"


def test_a_manager_that_reads_nothing_blocks_nobody(monkeypatch: Environment) -> None:
    with notified_at(abstract_name(monkeypatch)) as manager:
        while edgeloop.notify("STATUS=more"):
            pass
        manager.recv(1000)
        assert edgeloop.notify("STATUS=more")


@pytest.mark.parametrize("wrong", ["READY", "", "=1", "STATUS=a\nMAINPID=1", "STATUS=a\0", "A B=1"])
def test_what_is_no_assignment_raises(wrong: str, monkeypatch: Environment) -> None:
    with notified_at(abstract_name(monkeypatch)) as manager:
        with pytest.raises(ValueError, match="NAME=value"):
            edgeloop.notify("READY=1", wrong)
        with pytest.raises(BlockingIOError):
            manager.recv(1000)
        with pytest.raises(TypeError):
            edgeloop.notify()
        with pytest.raises(TypeError):
            edgeloop.notify(b"READY=1")  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["relative", "@", "/", "vsock:2:1"])
def test_a_wrong_place_raises_a_value_error_that_names_it(place: str, monkeypatch: Environment) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    with pytest.raises(ValueError, match=f"NOTIFY_SOCKET='{place}'"):
        edgeloop.notify("READY=1")


def test_what_the_kernel_refuses_raises(monkeypatch: Environment, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/" + "long" * 100)
    with pytest.raises(OSError):
        edgeloop.notify("READY=1")


async def pings(manager: socket.socket, count: int) -> None:
    for _ in range(count):
        assert await asyncio.get_running_loop().sock_recv(manager, 1000) == b"WATCHDOG=1"


def test_the_watchdog_is_told_while_the_loop_lives_and_not_afterwards(monkeypatch: Environment, run: Run) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    with notified_at(abstract_name(monkeypatch)) as manager:

        async def main() -> None:
            watchdog = edgeloop.notify_watchdog()
            assert watchdog is not None and watchdog.interval == 0.001
            await pings(manager, 5)
            assert not watchdog.cancelled()

        run(main())
        empty(manager)
        time.sleep(0.01)
        with pytest.raises(BlockingIOError):
            manager.recv(1000)
        run(pings(manager, 2))  # it goes on with the loop


def empty(manager: socket.socket) -> None:
    try:
        while True:
            manager.recv(1000)
    except BlockingIOError:
        pass


async def test_a_watchdog_that_is_cancelled_sends_no_more(monkeypatch: Environment) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with notified_at(abstract_name(monkeypatch)) as manager:
        watchdog = edgeloop.notify_watchdog()
        assert watchdog is not None
        await pings(manager, 2)
        watchdog.cancel()
        watchdog.cancel()
        assert watchdog.cancelled()
        empty(manager)
        await asyncio.sleep(0.01)
        with pytest.raises(BlockingIOError):
            manager.recv(1000)


async def test_a_ping_that_fails_is_reported_and_followed_by_others(monkeypatch: Environment) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)
    address = abstract_name(monkeypatch)
    right = os.environ["NOTIFY_SOCKET"]
    with notified_at(address) as manager:
        os.environ["NOTIFY_SOCKET"] = "wrong"
        watchdog = edgeloop.notify_watchdog(loop)
        assert watchdog is not None
        while not errors:
            await asyncio.sleep(0.001)
        os.environ["NOTIFY_SOCKET"] = right
        await pings(manager, 1)
        watchdog.cancel()
    assert isinstance(errors[0]["exception"], ValueError)


async def test_there_is_no_watchdog_where_none_is_asked_for(monkeypatch: Environment) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert edgeloop.notify_watchdog() is None
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert edgeloop.notify_watchdog() is None
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    for wrong in ("0", "soon", "-1"):
        monkeypatch.setenv("WATCHDOG_USEC", wrong)
        with pytest.raises(ValueError, match=f"WATCHDOG_USEC='{wrong}'"):
            edgeloop.notify_watchdog()


def test_a_watchdog_needs_a_loop() -> None:
    with pytest.raises(RuntimeError):
        edgeloop.notify_watchdog()
