"""examples/static_pages.py: what it doesn't serve, and requests that are none."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_modules import example_module
from example_process import ExampleProcess, example
from recording import Run
from sockets import Pair

pytestmark = pytest.mark.edgeloop_only  # limits of the server, and drain

SECRET = b"for nobody's eyes"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    around = tmp_path_factory.mktemp("site")
    found = around / "root"
    (found / "below").mkdir(parents=True)
    (around / "secret").write_bytes(SECRET)
    (around / "root-secret").write_bytes(SECRET)
    (found / ".secret").write_bytes(SECRET)
    (found / ".well-known").mkdir()
    (found / ".well-known" / "answer").write_bytes(b"page")
    (found / "page").write_bytes(b"page")
    (found / "below" / "page").write_bytes(b"page")
    (found / "link").symlink_to(around / "secret")
    (found / "directory-link").symlink_to(around)
    (found / "below" / "index.html").symlink_to("../../secret")
    (found / "unreadable").mkdir(mode=0)
    os.mkfifo(found / "pipe")
    return found


@pytest.fixture(scope="module")
def pages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, root: Path
) -> Iterator[ExampleProcess]:
    with example(request.config, tmp_path_factory.mktemp("example"), "static_pages.py", str(root)) as process:
        yield process


def sent(pages: ExampleProcess, request: bytes) -> tuple[int, bytes]:
    """Send the bytes as they are. Return the status and all that came, up to the end of the connection."""
    with socket.create_connection((pages.host, pages.port), timeout=30) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read()
    return int(answer.split(b" ", 2)[1]), answer


def get(pages: ExampleProcess, path: bytes) -> tuple[int, bytes]:
    return sent(pages, b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/below/../../secret",
        "/%2e%2e/secret",
        "/%2E./secret",
        "/..%2fsecret",
        "/below/..%2f..%2fsecret",
        "/%252e%252e/secret",
        "/..%5csecret",
        "/../root-secret",
        "/./page",
        "//secret",
        "/below//page",
        "/%2f..%2fsecret",
        "/link",
        "/directory-link/secret",
        "/directory-link",
        "/below/",
        "/.secret",
        "/%2esecret",
        "/page/",
        "/page/below",
        "/page%00",
        "/page%00.html",
        "/pipe",
        "/unreadable/page",
        "/" + "x" * 300,
        "/" + "x/" * 2000,
        "http://h/../secret",
        "/missing",
    ],
)
def test_what_is_not_in_the_directory_is_not_found(pages: ExampleProcess, path: str) -> None:
    status, answer = get(pages, path.encode())
    assert status == 404
    assert SECRET not in answer


@pytest.mark.parametrize(
    "path", [b"/page", b"/p%61ge", b"/%70%61%67%65?x", b"/.well-known/answer", b"http://other/page"]
)
def test_other_spellings_of_a_page_are_found(pages: ExampleProcess, path: bytes) -> None:
    status, answer = get(pages, path)
    assert (status, answer[-4:]) == (200, b"page")


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, b"\0\1\2\3\r\n\r\n"),
        (400, b"GET\r\n\r\n"),
        (400, b"GET /page\r\n\r\n"),
        (400, b"GET  /page HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"GET /pa ge HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"GET /page HTTP/2.0\r\nHost: h\r\n\r\n"),
        (400, b"GET /page HTTP/1.1\r\n\r\n"),
        (400, b"GET /page HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n"),
        (400, b"GET page HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"GET /page#part HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"GET /page% HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"GET /page\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"GET /page HTTP/1.1\r\nHost : h\r\n\r\n"),
        (400, b"GET /page HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n"),
        (400, b"GET /page HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n"),
        (400, b"GET /page HTTP/1.1\r\nHost: h\r\nBad: \0\r\n\r\n"),
        (400, b"GET /page HTTP/1.1\nHost: h\n\r\n\r\n"),
        (400, b"GET /page HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nGET"),
        (400, b"GET /page HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\nGET"),
        (400, b"GET /page HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (405, b"POST /page HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\nGET /page HTTP/1.1\r\nHost: h\r\n\r\n"),
        (431, b"GET /page HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 10_000 + b"\r\n\r\n"),
        (431, b"GET /" + b"x" * 20_000),
    ],
)
def test_what_is_no_request_ends_the_connection(pages: ExampleProcess, status: int, request_: bytes) -> None:
    # A request behind it would be answered, if the server went on: it might be part of something else.
    found, answer = sent(pages, request_ + b"GET /page HTTP/1.1\r\nHost: h\r\n\r\n")
    assert found == status
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answer


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"get", b"M-SEARCH"])
def test_other_methods_are_refused_and_the_connection_goes_on(pages: ExampleProcess, method: bytes) -> None:
    status, answer = sent(
        pages, method + b" /page HTTP/1.1\r\nHost: h\r\n\r\nGET /page HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    assert status == 405
    assert b"Allow: GET, HEAD\r\n" in answer
    assert answer.endswith(b"page")


def test_a_client_that_sends_much_too_much_reads_why_it_is_refused(pages: ExampleProcess) -> None:
    with socket.create_connection((pages.host, pages.port), timeout=30) as client:
        client.sendall(b"POST /page HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 405 ")


def test_a_request_that_never_ends_is_timed_out(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = example_module("static_pages.py")
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.2)
    site = module.Site(root)

    async def slow_loris() -> bytes:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(lambda: module.Pages(site), "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            answer = asyncio.create_task(reader.read())
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
            while not answer.done():
                writer.write(b"x")
                await asyncio.sleep(0.01)
            writer.close()
            return await answer

    try:
        assert run(slow_loris()).startswith(b"HTTP/1.1 408 ")
    finally:
        site.close()


def test_an_empty_line_begins_no_request(run: Run, root: Path, pair: Pair) -> None:
    module = example_module("static_pages.py")
    site = module.Site(root)
    ours, theirs = pair

    async def empty_line() -> None:
        pages = module.Pages(site)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: pages, ours)
        theirs.send(b"\r")
        while pages.timer is None:  # it may be the beginning of one
            await asyncio.sleep(0)
        theirs.send(b"\n")
        while pages.timer is not None:
            await asyncio.sleep(0)
        assert pages.buffer == b""
        transport.close()

    try:
        run(empty_line())
    finally:
        site.close()


def test_a_site_without_descriptors_says_try_again(run: Run, root: Path, pages: ExampleProcess) -> None:
    import resource

    number = pages.process.pid
    soft, hard = resource.prlimit(number, resource.RLIMIT_NOFILE)
    with socket.create_connection((pages.host, pages.port), timeout=30) as client:
        client.sendall(b"HEAD /page HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.recv(10_000).startswith(b"HTTP/1.1 200 ")
        resource.prlimit(number, resource.RLIMIT_NOFILE, (0, hard))
        try:
            client.sendall(b"GET /page HTTP/1.1\r\nHost: h\r\n\r\n")
            assert client.recv(10_000).startswith(b"HTTP/1.1 503 ")
        finally:
            resource.prlimit(number, resource.RLIMIT_NOFILE, (soft, hard))
        client.sendall(b"HEAD /page HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.recv(10_000).startswith(b"HTTP/1.1 200 ")
