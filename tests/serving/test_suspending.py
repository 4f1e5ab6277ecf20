"""Server.suspend, resume, suspend_on_delay, add_alarm."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from limited_servers import Clients, answered, answers, serving
from recording import record_errors, turns, until

pytestmark = pytest.mark.edgeloop_only  # asyncio's Server has no such methods


async def test_who_connects_while_the_server_is_suspended_is_served_afterwards() -> None:
    loop = asyncio.get_running_loop()
    async with serving() as (server, address):
        with Clients(address) as clients:
            first = clients.connect()[0]
            assert await answered(first)
            before = loop.time()
            server.suspend()
            server.suspend()
            since = server.status().suspended_since
            assert since is not None and before <= since <= loop.time()
            late = clients.connect(3)
            await turns()
            assert await answered(first)
            assert (server.status().open, server.status().waiting) == (1, 3)
            server.resume()
            server.resume()
            assert await answers(late) == 3
            assert server.status().suspended_since is None


async def test_clients_that_came_before_suspend_are_not_lost() -> None:
    async with serving() as (server, address):
        with Clients(address) as clients:
            for _ in range(10):
                sock = clients.connect()[0]
                server.suspend()
                await turns(3)
                assert server.status().open == 0
                server.resume()
                assert await answered(sock)
                sock.close()
                await until(lambda: server.status().open == 0)


async def test_a_factory_that_suspends_is_obeyed_at_once() -> None:
    server: Any = None

    def factory() -> asyncio.Protocol:
        server.suspend()
        return asyncio.Protocol()

    async with serving(factory) as (found, address):
        server = found
        with Clients(address) as clients:
            clients.connect(4)
            for served in range(1, 5):
                await until(lambda: server.status().suspended_since is not None)
                await turns()
                assert server.status().open == served
                server.resume()


async def test_a_server_that_is_suspended_before_it_starts() -> None:
    async with serving(start_serving=False) as (server, address):
        server.suspend()
        await server.start_serving()
        with Clients(address) as clients:
            sock = clients.connect()[0]
            await turns()
            assert server.status().open == 0
            server.resume()
            assert await answered(sock)


async def test_a_closed_server_is_not_suspended() -> None:
    async with serving() as (server, _):
        server.close()
        server.suspend()
        assert server.status().suspended_since is None
        server.resume()


async def test_a_suspended_server_that_is_full_keeps_both_in_mind() -> None:
    async with serving(max_connections=1) as (server, address):
        with Clients(address) as clients:
            first, second = clients.connect(2)
            await until(lambda: server.status().full)
            server.suspend()
            first.close()
            await until(lambda: server.status().open == 0)
            await turns()
            assert server.status().accepted == 1
            server.resume()
            assert await answered(second)


# Alarms


async def test_an_alarm_is_called_once_in_its_cooldown() -> None:
    calls: list[Any] = []
    async with serving() as (server, address):
        server.add_alarm(calls.append, connections=3, cooldown=3600)
        with Clients(address) as clients:
            assert await answers(clients.connect(2)) == 2
            assert calls == []
            assert await answers(clients.connect(4)) == 4
            assert [status.open for status in calls] and calls[0].open >= 3
            assert len(calls) == 1


async def test_an_alarm_without_a_cooldown_is_called_for_each_accept() -> None:
    calls: list[Any] = []
    async with serving() as (server, address):
        alarm = server.add_alarm(calls.append, connections=2, cooldown=0)
        with Clients(address) as clients:
            for count in range(1, 5):
                assert await answered(clients.connect()[0])
                await turns()
                assert [status.open for status in calls] == list(range(2, count + 1))
            alarm.cancel()
            alarm.cancel()
            assert await answered(clients.connect()[0])
            await turns()
            assert len(calls) == 3


async def test_two_alarms_have_thresholds_of_their_own() -> None:
    calls: list[str] = []
    async with serving() as (server, address):
        server.add_alarm(lambda _: calls.append("four"), connections=4, cooldown=3600)
        server.add_alarm(lambda _: calls.append("two"), connections=2, cooldown=3600)
        with Clients(address) as clients:
            for _ in range(5):
                assert await answered(clients.connect()[0])
            assert calls == ["two", "four"]


async def test_an_alarm_that_raises_is_reported_and_one_that_closes_is_let() -> None:
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)

    def fail(status: Any) -> None:
        raise LookupError("alarm")

    async with serving() as (server, address):
        server.add_alarm(fail, connections=1)
        server.add_alarm(lambda _: server.close(), connections=2)
        with Clients(address) as clients:
            assert await answered(clients.connect()[0])
            clients.connect()
            await until(lambda: not server.is_serving())
    assert [str(error["exception"]) for error in errors] == ["alarm"]


async def test_a_server_is_suspended_while_the_loop_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeloop.serving import alarms

    monkeypatch.setattr(alarms, "MEASURE_SECONDS", 0.001)
    seen: list[Any] = []
    async with serving() as (server, address):
        server.add_alarm(seen.append, delay=0.2, cooldown=3600)
        server.suspend_on_delay(0.2, 0.15)
        await until(lambda: server.status().delay is not None)
        time.sleep(0.3)
        await until(lambda: bool(seen))
        assert seen[0].delay >= 0.2
        with Clients(address) as clients:
            assert await answered(clients.connect()[0])  # it has recovered by itself
        assert server.status().suspended_since is None


async def test_the_program_and_the_delay_suspend_independently(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeloop.serving import alarms

    monkeypatch.setattr(alarms, "MEASURE_SECONDS", 3600.0)
    async with serving() as (server, address):
        server.suspend_on_delay(1.0)
        server._suspend("delay")
        server.suspend()
        server.resume()
        assert server.status().suspended_since is not None
        server.suspend()
        server.suspend_on_delay(None)  # nobody measures any more: it may not stay suspended for that
        assert server.status().suspended_since is not None
        server.resume()
        assert server.status().suspended_since is None
        with Clients(address) as clients:
            assert await answered(clients.connect()[0])


async def test_the_delay_is_measured_only_while_somebody_asks() -> None:
    loop: Any = asyncio.get_running_loop()
    async with serving() as (server, _):
        before = len(loop._scheduled)
        server.suspend_on_delay(1.0)
        assert len(loop._scheduled) == before + 1
        alarm = server.add_alarm(print, delay=1.0)
        server.suspend_on_delay(None)
        alarm.cancel()
        assert server.status().delay is None
        assert [timer for timer in loop._scheduled if not timer.cancelled()][before:] == []
        server.suspend_on_delay(1.0)
        server.close()
        assert [timer for timer in loop._scheduled if not timer.cancelled()][before:] == []


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, ValueError, "either connections or delay"),
        ({"connections": 1, "delay": 1}, ValueError, "either connections or delay"),
        ({"connections": 0}, ValueError, "connections must be at least 1, got 0"),
        ({"connections": 1.5}, TypeError, "connections must be an int, got 1.5"),
        ({"connections": True}, TypeError, "connections must be an int, got True"),
        ({"delay": 0}, ValueError, "delay must be finite and over 0, got 0"),
        ({"delay": float("nan")}, ValueError, "delay must be finite and over 0, got nan"),
        ({"delay": "1"}, TypeError, "delay must be a number of seconds, got '1'"),
        ({"connections": 1, "cooldown": -1}, ValueError, "cooldown must be finite and at least 0, got -1"),
    ],
)
async def test_an_alarm_with_wrong_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    async with serving() as (server, _):
        with pytest.raises(error, match=text):
            server.add_alarm(print, **arguments)
        with pytest.raises(TypeError, match="a callable object was expected"):
            server.add_alarm(None, connections=1)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((0,), ValueError, "high must be finite and over 0, got 0"),
        ((1, 2), ValueError, r"low \(2\) must be at most high \(1\)"),
        ((1, -1), ValueError, "low must be finite and at least 0, got -1"),
        ((None, 1), ValueError, "low=1 needs high"),
        (("1",), TypeError, "high must be a number of seconds"),
    ],
)
async def test_marks_that_are_none(arguments: tuple[Any, ...], error: type[Exception], text: str) -> None:
    async with serving() as (server, _):
        with pytest.raises(error, match=text):
            server.suspend_on_delay(*arguments)
