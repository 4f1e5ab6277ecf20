"""getaddrinfo and getnameinfo: literals, services, errors, and independence of the default executor."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from typing import Any

import pytest
from recording import Run

STREAM = socket.SOCK_STREAM


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 80),
        ("127.0.0.1", "80"),
        ("127.0.0.1", None),
        ("::1", 80),
        ("::1", "80"),
        ("fe80::1%lo", 80),
        ("fe80::1%1", 80),
        ("::ffff:127.0.0.1", 80),
        ("0.0.0.0", 0),
        ("::", 0),
        ("localhost", 80),
        ("localhost", "80"),
        ("127.0.0.1", "http"),
        ("localhost", "http"),
        (b"127.0.0.1", 80),
        (b"localhost", b"80"),
        (None, 80),
        (None, "http"),
        ("", 80),
        ("127.1", 80),
        ("0x7f000001", 80),
        ("2130706433", 80),
    ],
)
@pytest.mark.parametrize("type", [0, STREAM, socket.SOCK_DGRAM])
def test_same_answers_as_the_socket_module(
    loop: asyncio.AbstractEventLoop, run: Run, host: Any, port: Any, type: int
) -> None:
    def ask() -> Any:
        try:
            return socket.getaddrinfo(host, port, type=type)
        except OSError as exc:
            return repr(exc)

    async def ask_loop() -> Any:
        try:
            return await loop.getaddrinfo(host, port, type=type)
        except OSError as exc:
            return repr(exc)

    assert run(ask_loop()) == ask()


@pytest.mark.parametrize(
    ("host", "family", "flags"),
    [
        ("127.0.0.1", socket.AF_INET, 0),
        ("127.0.0.1", socket.AF_INET6, 0),
        ("::1", socket.AF_INET, 0),
        ("::1", socket.AF_INET6, 0),
        ("127.0.0.1", socket.AF_INET6, socket.AI_V4MAPPED),
        ("127.0.0.1", 0, socket.AI_CANONNAME),
        ("127.0.0.1", 0, socket.AI_PASSIVE | socket.AI_NUMERICHOST),
        (None, 0, socket.AI_PASSIVE),
        (None, socket.AF_INET, socket.AI_PASSIVE),
        ("localhost", 0, socket.AI_NUMERICHOST),
        ("localhost", socket.AF_INET, socket.AI_CANONNAME),
        ("127.0.0.1", socket.AF_UNIX, 0),
        ("127.0.0.1", 0, -1),
    ],
)
def test_families_and_flags(
    loop: asyncio.AbstractEventLoop, run: Run, host: str | None, family: int, flags: int
) -> None:
    def ask() -> Any:
        try:
            return socket.getaddrinfo(host, 80, family=family, type=STREAM, proto=socket.IPPROTO_TCP, flags=flags)
        except OSError as exc:
            return repr(exc)

    async def ask_loop() -> Any:
        try:
            return await loop.getaddrinfo(host, 80, family=family, type=STREAM, proto=socket.IPPROTO_TCP, flags=flags)
        except OSError as exc:
            return repr(exc)

    assert run(ask_loop()) == ask()


@pytest.mark.parametrize("family", [socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
@pytest.mark.parametrize("type", [0, STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET, 77])
@pytest.mark.parametrize("proto", [0, socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMP, 999])
def test_literals_one_after_the_other(
    loop: asyncio.AbstractEventLoop, run: Run, family: int, type: int, proto: int
) -> None:
    """What the C library said of one address is told of the next one, whatever the hints."""
    addresses: list[tuple[str, int]] = [("127.0.0.1", 80), ("192.0.2.7", 65535), ("::1", 80), ("2001:DB8:0:0::7", 0)]
    addresses += [("::ffff:192.0.2.7", 443), ("fe80::1", 1), ("127.0.0.1", -1), ("127.0.0.1", 65536), ("::1", 65537)]

    def ask(host: str, port: int) -> Any:
        try:
            return socket.getaddrinfo(host, port, family, type, proto)
        except OSError as exc:
            return repr(exc)

    async def ask_loop(host: str, port: int) -> Any:
        try:
            return await loop.getaddrinfo(host, port, family=family, type=type, proto=proto)
        except OSError as exc:
            return repr(exc)

    async def main() -> list[Any]:
        return [await ask_loop(host, port) for host, port in addresses]

    answers = run(main())
    expected = [ask(host, port) for host, port in addresses]
    assert answers == expected
    assert repr(answers) == repr(expected)  # the kinds of numbers too


async def test_a_getaddrinfo_in_place_of_the_socket_modules(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a test or a resolver of the program's own puts there answers, for addresses too."""
    answer = [(socket.AF_INET, STREAM, 6, "", ("192.0.2.1", 1))]
    await loop.getaddrinfo("127.0.0.1", 80)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **keywords: answer)
    assert await loop.getaddrinfo("127.0.0.1", 80) == answer
    assert await loop.getaddrinfo("localhost", 80) == answer


async def test_literals_keep_their_zone(loop: asyncio.AbstractEventLoop) -> None:
    index = socket.if_nametoindex("lo")
    (found,) = await loop.getaddrinfo("fe80::1%lo", 80, type=STREAM)
    assert found[4][:4] == ("fe80::1", 80, 0, index) or found[4][:4] == ("fe80::1%lo", 80, 0, index)
    assert found == socket.getaddrinfo("fe80::1%lo", 80, type=STREAM)[0]


async def test_unknown_names(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo("no-such-host.invalid", 80)
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo("127.0.0.1", "no-such-service")


@pytest.mark.parametrize("host", ["127.0.0.1\0.example", b"127.0.0.1\0.example", "localhost\0.example", "::1\0"])
async def test_a_name_that_goes_on_after_a_nul_is_refused(loop: asyncio.AbstractEventLoop, host: Any) -> None:
    """The C library would take what stands before it, and a program that looked at the end was deceived."""
    with pytest.raises(ValueError, match="embedded null character"):
        await loop.create_connection(asyncio.Protocol, host, 80)
    with pytest.raises(ValueError, match="embedded null character"):
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, 80))
    if isinstance(host, str):
        with pytest.raises(ValueError, match="embedded null character"):
            await loop.create_server(asyncio.Protocol, host, 0)


@pytest.mark.parametrize(("host", "port"), [(3j, 80), ("127.0.0.1", 3j), (1, 80), ("127.0.0.1", 1.5)], ids=repr)
async def test_wrong_types(loop: asyncio.AbstractEventLoop, host: Any, port: Any) -> None:
    try:
        socket.getaddrinfo(host, port)
    except Exception as exc:
        expected = exc
    with pytest.raises(type(expected)) as raised:
        await loop.getaddrinfo(host, port)
    assert type(raised.value) is type(expected)


@pytest.mark.parametrize("port", [65536, -1, "65536", "-1", 2**31, ""])
def test_ports_out_of_range_are_treated_alike(loop: asyncio.AbstractEventLoop, run: Run, port: Any) -> None:
    def ask() -> Any:
        try:
            return socket.getaddrinfo("127.0.0.1", port, type=STREAM)
        except Exception as exc:
            return repr(exc)

    async def ask_loop() -> Any:
        try:
            return await loop.getaddrinfo("127.0.0.1", port, type=STREAM)
        except Exception as exc:
            return repr(exc)

    assert run(ask_loop()) == ask()


def test_keywords_only(loop: asyncio.AbstractEventLoop) -> None:
    ask: Any = loop.getaddrinfo
    with pytest.raises(TypeError):
        ask("127.0.0.1", 80, socket.AF_INET)


@pytest.mark.parametrize(
    ("address", "flags"),
    [
        (("127.0.0.1", 80), 0),
        (("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        (("::1", 80, 0, 0), socket.NI_NUMERICHOST),
        (("127.0.0.1", 53), socket.NI_DGRAM | socket.NI_NUMERICHOST),
        (("192.0.2.1", 9), socket.NI_NUMERICHOST | socket.NI_NAMEREQD),
    ],
)
def test_getnameinfo(loop: asyncio.AbstractEventLoop, run: Run, address: Any, flags: int) -> None:
    def ask() -> Any:
        try:
            return socket.getnameinfo(address, flags)
        except OSError as exc:
            return repr(exc)

    async def ask_loop() -> Any:
        try:
            return await loop.getnameinfo(address, flags)
        except OSError as exc:
            return repr(exc)

    assert run(ask_loop()) == ask()


@pytest.mark.parametrize("address", [("localhost",), "127.0.0.1", (127, 80), ("127.0.0.1", 80, 0, 0, 0)], ids=repr)
async def test_getnameinfo_of_a_wrong_address(loop: asyncio.AbstractEventLoop, address: Any) -> None:
    with pytest.raises((TypeError, OSError, LookupError, ValueError)) as expected:  # the last two are PyPy's
        socket.getnameinfo(address, 0)
    with pytest.raises(type(expected.value)):
        await loop.getnameinfo(address, 0)


async def test_many_at_once(loop: asyncio.AbstractEventLoop) -> None:
    answers = await asyncio.gather(*(loop.getaddrinfo("localhost", port, type=STREAM) for port in range(1, 101)))
    assert [answer[0][4][1] for answer in answers] == list(range(1, 101))


async def test_a_lookup_can_be_cancelled(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def slow(*args: object) -> list[object]:
        answer.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)  # a name server that doesn't answer can't be had here

    task = asyncio.ensure_future(loop.getaddrinfo("localhost", 80))
    loop.call_soon(task.cancel)
    try:
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        answer.set()


@pytest.mark.edgeloop_only
async def test_lookups_do_not_wait_for_the_default_executor(loop: asyncio.AbstractEventLoop) -> None:
    """The standard loop resolves names in the default executor, behind whatever else is queued there."""
    gate = threading.Event()

    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    jobs = [loop.run_in_executor(None, gate.wait) for _ in range(10)]
    try:
        found = await loop.getaddrinfo("localhost", 80, type=STREAM)
        assert found == socket.getaddrinfo("localhost", 80, type=STREAM)
        assert await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
        assert not any(job.done() for job in jobs)
    finally:
        gate.set()
    await asyncio.gather(*jobs)


@pytest.mark.edgeloop_only
async def test_a_literal_needs_no_thread(loop: asyncio.AbstractEventLoop) -> None:
    before = threading.active_count()
    await loop.getaddrinfo("127.0.0.1", 80, type=STREAM)
    await loop.getaddrinfo("::1", 80, type=STREAM)
    assert threading.active_count() == before


@pytest.mark.edgeloop_only
async def test_lookups_work_after_the_default_executor_was_shut_down(loop: asyncio.AbstractEventLoop) -> None:
    await loop.shutdown_default_executor()
    assert await loop.getaddrinfo("localhost", 80, type=STREAM)
