"""examples/static_pages.py, with curl, urllib, http.client and aiohttp's client."""

from __future__ import annotations

import asyncio
import email.utils
import http.client
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from aiohttp import ClientSession
from example_process import ExampleProcess, eventually, example
from recording import Run

pytestmark = pytest.mark.edgeloop_only  # limits of the server, and drain

PAGE = b"<h1>A page</h1>" * 300
LARGE = bytes(range(256)) * 12_000
CHANGED = 1_700_000_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("site") / "root"
    (found / "below" / "deeper").mkdir(parents=True)
    (found / "page.html").write_bytes(PAGE)
    (found / "empty.txt").write_bytes(b"")
    (found / "large.bin").write_bytes(LARGE)
    (found / "a name.css").write_bytes(b"p{}")
    (found / "index.html").write_bytes(b"start")
    (found / "below" / "index.html").write_bytes(b"below")
    (found / "below" / "deeper" / "page.json").write_bytes(b"1")
    os.utime(found / "page.html", (CHANGED, CHANGED))
    return found


@pytest.fixture(scope="module")
def pages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, root: Path
) -> Iterator[ExampleProcess]:
    with example(request.config, tmp_path_factory.mktemp("example"), "static_pages.py", str(root)) as process:
        yield process


@pytest.fixture
def own(request: pytest.FixtureRequest, tmp_path: Path, root: Path) -> Iterator[ExampleProcess]:
    with example(request.config, tmp_path, "static_pages.py", str(root)) as process:
        yield process


@pytest.fixture
def connection(pages: ExampleProcess) -> Iterator[HTTPConnection]:
    made = HTTPConnection(pages.host, pages.port, timeout=30)
    try:
        yield made
    finally:
        made.close()


def ask(
    connection: HTTPConnection, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[HTTPResponse, bytes]:
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    return answer, answer.read()


def test_curl_gets_pages_and_their_kinds(pages: ExampleProcess) -> None:
    for path, kind, body in (
        ("/page.html?query", b"text/html; charset=utf-8", PAGE),
        ("/", b"text/html; charset=utf-8", b"start"),
        ("/below/", b"text/html; charset=utf-8", b"below"),
        ("/below/deeper/page.json", b"application/json", b"1"),
        ("/large.bin", b"application/octet-stream", LARGE),
        ("/empty.txt", b"text/plain; charset=utf-8", b""),
    ):
        done = subprocess.run(
            ["curl", "-sS", "-w", "%{http_code} %{content_type}", pages.url + path], check=True, capture_output=True
        )
        assert done.stdout == body + b"200 " + kind


def test_urllib_gets_an_escaped_name(pages: ExampleProcess) -> None:
    with urllib.request.urlopen(f"{pages.url}/a%20name.css", timeout=30) as answer:
        assert answer.read() == b"p{}"
        assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
        assert answer.headers["Connection"] == "close", "as it was asked for"


def test_a_connection_is_kept(connection: HTTPConnection) -> None:
    sock = None
    for path in ("/page.html", "/missing", "/large.bin", "/below", "/empty.txt", "/page.html"):
        ask(connection, path)
        assert sock in (None, connection.sock)
        sock = connection.sock
    assert sock is not None


def test_head_has_the_headers_of_get(connection: HTTPConnection) -> None:
    for path, size in (("/page.html", len(PAGE)), ("/large.bin", len(LARGE)), ("/empty.txt", 0)):
        got, _ = ask(connection, path)
        head, body = ask(connection, path, method="HEAD")
        assert body == b""
        assert int(head.headers["Content-Length"]) == size
        for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Accept-Ranges"):
            assert head.headers[name] == got.headers[name]
    missing, body = ask(connection, "/missing", method="HEAD")
    assert (missing.status, body) == (404, b"")


@pytest.mark.parametrize(
    ("wanted", "status", "first", "end"),
    [
        ("bytes=0-99", 206, 0, 100),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-", 206, 100, None),
        ("bytes=-5", 206, -5, None),
        ("bytes=-999999999", 206, 0, None),
        ("bytes=4-999999999", 206, 4, None),
        ("bytes=5-2", 200, 0, None),
        ("bytes=0-1,3-4", 200, 0, None),
        ("bytes=-", 200, 0, None),
        ("bits=0-1", 200, 0, None),
        ("bytes=" + "9" * 5000 + "-", 200, 0, None),
    ],
)
@pytest.mark.parametrize(("path", "whole"), [("/page.html", PAGE), ("/large.bin", LARGE)])
def test_ranges(
    connection: HTTPConnection, path: str, whole: bytes, wanted: str, status: int, first: int, end: int | None
) -> None:
    answer, body = ask(connection, path, {"Range": wanted})
    assert answer.status == status
    assert body == whole[first:end]
    if status == 206:
        first %= len(whole)
        assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(body) - 1}/{len(whole)}"


def test_a_range_of_nothing_is_refused(connection: HTTPConnection) -> None:
    for path, wanted, size in (
        ("/page.html", f"bytes={len(PAGE)}-", len(PAGE)),
        ("/page.html", "bytes=-0", len(PAGE)),
        ("/empty.txt", "bytes=0-", 0),
    ):
        answer, _ = ask(connection, path, {"Range": wanted})
        assert answer.status == 416
        assert answer.headers["Content-Range"] == f"bytes */{size}"


def test_what_the_client_has_is_not_sent_again(connection: HTTPConnection) -> None:
    answer, _ = ask(connection, "/page.html")
    etag = answer.headers["ETag"]
    later = email.utils.formatdate(CHANGED + 10, usegmt=True)
    earlier = email.utils.formatdate(CHANGED - 10, usegmt=True)
    assert answer.headers["Last-Modified"] == email.utils.formatdate(CHANGED, usegmt=True)
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'"other", W/{etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": answer.headers["Last-Modified"]}, 304),
        ({"If-Modified-Since": later}, 304),
        ({"If-Modified-Since": earlier}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-None-Match": '"other"', "If-Modified-Since": later}, 200),
        ({"If-Range": etag, "Range": "bytes=0-9"}, 206),
        ({"If-Range": '"other"', "Range": "bytes=0-9"}, 200),
        ({"If-Range": earlier, "Range": "bytes=0-9"}, 200),
    ):
        answer, body = ask(connection, "/page.html", headers)
        assert answer.status == status, headers
        assert body == {304: b"", 200: PAGE, 206: PAGE[:10]}[status]
        assert answer.headers["ETag"] == etag


def test_a_directory_without_its_slash_is_moved(connection: HTTPConnection) -> None:
    answer, _ = ask(connection, "/below")
    assert answer.status == 301
    assert answer.headers["Location"] == "/below/"


def test_an_old_client_is_closed_unless_it_asks_to_be_kept(pages: ExampleProcess) -> None:
    with socket.create_connection((pages.host, pages.port), timeout=30) as client:
        client.sendall(b"GET /page.html HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /page.html HTTP/1.0\r\n\r\n")
        found = client.makefile("rb").read()
    assert found.count(b"HTTP/1.1 200 OK") == found.count(PAGE) == 2
    assert found.count(b"Connection: keep-alive") == found.count(b"Connection: close") == 1


def test_pipelined_requests_are_answered_in_order(pages: ExampleProcess) -> None:
    wanted = [("/page.html", PAGE), ("/large.bin", LARGE), ("/missing", b"404 Not Found\n"), ("/empty.txt", b"")] * 10
    requests = b"".join(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for path, _ in wanted)
    with socket.create_connection((pages.host, pages.port), timeout=30) as client:
        client.sendall(requests)
        client.shutdown(socket.SHUT_WR)
        # One response is read from the buffer that the one before has filled.
        file = client.makefile("rb")
        for _, body in wanted:
            length = 0
            while (line := file.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                if name == b"Content-Length":
                    length = int(value)
            assert file.read(length) == body
        assert file.read() == b""


def test_a_request_that_comes_byte_by_byte_is_answered(pages: ExampleProcess) -> None:
    with socket.create_connection((pages.host, pages.port), timeout=30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"\r\nGET /page.html HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n":
            client.send(bytes([byte]))
        assert client.makefile("rb").read().endswith(b"\r\n\r\n" + PAGE)


async def test_aiohttps_client_gets_hundreds_of_pages_at_once(pages: ExampleProcess) -> None:
    async with ClientSession() as session:

        async def fetch(number: int) -> bool:
            path, whole = ("/large.bin", LARGE) if number % 10 == 0 else ("/page.html", PAGE)
            async with session.get(pages.url + path) as answer:
                return await answer.read() == whole

        assert all(await asyncio.gather(*(fetch(number) for number in range(300))))


def test_clients_that_leave_in_the_middle_of_a_file_leave_nothing_behind(pages: ExampleProcess) -> None:
    before = pages.descriptors()
    for _ in range(20):
        with socket.create_connection((pages.host, pages.port), timeout=30) as client:
            client.sendall(b"GET /large.bin HTTP/1.1\r\nHost: h\r\n\r\n")
            assert client.recv(100)
    assert eventually(lambda: pages.descriptors() <= before)


def test_a_stop_lets_a_download_end(own: ExampleProcess, run: Run) -> None:
    with (
        socket.create_connection((own.host, own.port), timeout=30) as client,
        socket.create_connection((own.host, own.port), timeout=30) as idle,
    ):
        idle.sendall(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert idle.recv(10_000).endswith(b"\r\n\r\n")
        client.sendall(b"GET /large.bin HTTP/1.1\r\nHost: h\r\n\r\n")
        found = client.recv(100)
        own.process.send_signal(signal.SIGTERM)
        assert idle.recv(100) == b""
        found += client.makefile("rb").read()
    assert found.endswith(b"\r\n\r\n" + LARGE)
    assert own.process.wait(30) == 0


def test_a_client_that_is_asked_to_close_says_so(pages: ExampleProcess) -> None:
    connection = http.client.HTTPConnection(pages.host, pages.port, timeout=30)
    answer, body = ask(connection, "/page.html", {"Connection": "close"})
    assert body == PAGE
    assert answer.headers["Connection"] == "close"
    connection.close()
