"""A web server for the files of a directory: HTTP/1.1, kept connections, ranges, ETags, as an asyncio Protocol.

    python examples/static_pages.py --port 8080 docs/
    curl -i http://127.0.0.1:8080/edges.md
    curl -r 0-99 http://127.0.0.1:8080/edges.md          # the first hundred bytes

A file below 64 KiB is read, and leaves with its header in one system call. A larger one is sent by sendfile(2). Symbolic
links below the directory are not followed, and names that begin with a dot are not served (but for .well-known).
"""

from __future__ import annotations

import argparse
import asyncio
import email.utils
import errno
import mimetypes
import os
import re
import signal
import stat
import time
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import edgeloop

MAX_HEAD = 8192  # bytes of a request line and its headers
SENDFILE_FROM = 64 * 1024  # bytes: what is read below it is held in memory; docs/static-pages.md has the costs
REQUESTS_PER_TURN = 16  # of one connection that sends many at once: then it is the turn of the others
HEAD_SECONDS = 10.0  # in which a request that has begun must be whole
LINGER_SECONDS = 2.0  # in which a client that was refused may go on sending, so that it reads why
GRACE = 5.0  # seconds that answers under way have when the server stops

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
HEAD = re.compile(rb"(%s) ([!-~\x80-\xff]+) HTTP/1\.([01])\r\n((?:%s:[^\r\n\0]*\r\n)*)\r\n" % (TOKEN, TOKEN))
READ_HEADERS = b"host|connection|range|if-range|if-none-match|if-modified-since|content-length|transfer-encoding"
HEADERS = re.compile(rb"^(%s):[ \t]*(.*?)[ \t]*\r$" % READ_HEADERS, re.IGNORECASE | re.MULTILINE)
TARGET = re.compile(rb"(?:https?://[^/?#]*)?(/[^?#]*)(?:\?[^#]*)?", re.IGNORECASE)
BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
RANGE = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})")
O_PATH: int = getattr(os, "O_PATH", 0o10000000)  # PyPy leaves it out
DIRECTORY = O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PAGE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a named pipe must not hold up everybody


class Refusal(Exception):
    """Answer with this status instead of a page."""

    def __init__(self, status: int, headers: str = "") -> None:
        self.status = status
        self.headers = headers


@lru_cache(1024)
def described(suffix: str, changed: int, size: int) -> tuple[bytes, bytes, bytes]:
    """Return the ETag, Last-Modified and all the headers of a file; ``changed`` is in nanoseconds since 1970."""
    kind = mimetypes.types_map.get(suffix.lower(), "application/octet-stream")
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    etag = f'"{changed:x}-{size:x}"'
    modified = email.utils.formatdate(changed // 10**9, usegmt=True)
    headers = f"Content-Type: {kind}\r\nETag: {etag}\r\nLast-Modified: {modified}\r\nAccept-Ranges: bytes\r\n"
    return etag.encode(), modified.encode(), headers.encode()


@lru_cache(16)
def status_line_and_date(status: int, second: int) -> bytes:
    date = email.utils.formatdate(second, usegmt=True)
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nDate: {date}\r\n".encode()


@lru_cache(1024)
def named(target: bytes) -> tuple[bytes, list[bytes], str]:
    """Return the path that a request asks for, the names on the way there, and the ending of the last. Raise Refusal."""
    found = TARGET.fullmatch(target)
    if found is None:
        raise Refusal(400)
    path: bytes = found[1]
    names = path.split(b"/")[1:]
    if b"%" in path:
        if BAD_ESCAPE.search(path):
            raise Refusal(400)
        names = [unquote_to_bytes(name) for name in names]
    if not names[-1]:
        names[-1] = b"index.html"
    for name in names:
        if not name or b"/" in name or b"\0" in name or (name[:1] == b"." and name != b".well-known"):
            raise Refusal(404)
    return path, names, os.path.splitext(os.fsdecode(names[-1]))[1]


class Site:
    """The directory that is served. Owns a descriptor of it, and opens each file from there, name by name."""

    def __init__(self, root: Path) -> None:
        self.root = os.open(root, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.root)

    def open(self, target: bytes) -> tuple[int, os.stat_result, str]:
        """Open the file that a request asks for. Return its descriptor, what it is, and the ending of its name."""
        path, names, suffix = named(target)
        try:
            fd = self._walk(names)
        except OSError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE):
                raise Refusal(503, "Retry-After: 1\r\n") from None
            raise Refusal(404) from None
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            if stat.S_ISDIR(found.st_mode):
                location = path.decode("latin-1")
                raise Refusal(301, f"Location: {location}/\r\n")
            raise Refusal(404)
        return fd, found, suffix

    def _walk(self, names: list[bytes]) -> int:
        # Each step is below the one before and follows no link, whatever somebody renames meanwhile.
        if len(names) == 1:
            return os.open(names[0], PAGE, dir_fd=self.root)
        below = os.open(names[0], DIRECTORY, dir_fd=self.root)
        try:
            for name in names[1:-1]:
                above, below = below, os.open(name, DIRECTORY, dir_fd=below)
                os.close(above)
            return os.open(names[-1], PAGE, dir_fd=below)
        finally:
            os.close(below)


class Pages(asyncio.Protocol):
    """One connection: answers requests in their order, one at a time."""

    def __init__(self, site: Site, sendfile_from: int = SENDFILE_FROM) -> None:
        self.site = site
        self.sendfile_from = sendfile_from
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.fields = b""  # of the last request, and what they say
        self.headers: dict[bytes, bytes] = {}
        self.keep = True  # the connection, after the answer under way
        self.refused = False  # what comes is read and forgotten
        self.full = False  # the client doesn't read what was written
        self.sending: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.refused = True
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        if not self.refused:
            self.buffer = self.buffer + data if self.buffer else data
            self.answer_requests()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self.sending is None:
            self.answer_requests()

    # eof_received stays as asyncio.Protocol has it: the transport closes itself once it has sent what was written. While an
    # answer is under way nothing is read, so that the end comes after it.

    def server_draining(self) -> None:
        """The server stops: a request that has begun is still answered."""
        self.keep = False
        if self.sending is None and not self.buffer and not self.refused:
            self.transport.close()

    def answer_requests(self) -> None:
        """Answer the requests that are whole, up to a number; the rest in the next turn."""
        if self.refused:
            return
        buffer, begin, answered = self.buffer, 0, 0
        while not self.full and self.sending is None and not self.refused and answered < REQUESTS_PER_TURN:
            while buffer.startswith(b"\r\n", begin):
                begin += 2  # RFC 9112, 2.2: some clients send an empty line behind a body
            end = buffer.find(b"\r\n\r\n", begin, begin + MAX_HEAD)
            if end < 0:
                break
            head = buffer[begin : end + 4]
            begin = end + 4
            answered += 1
            self.answer(head)
        self.buffer = buffer[begin:]
        if self.timer is not None and (answered or not self.buffer) and not self.refused:
            self.timer.cancel()
            self.timer = None
        if self.refused:
            self.buffer = b""
        elif self.full or self.sending is not None:
            self.transport.pause_reading()
        elif answered == REQUESTS_PER_TURN and self.buffer:
            self.transport.pause_reading()
            self.loop.call_soon(self.answer_requests)
        elif len(self.buffer) >= MAX_HEAD:
            self.refuse(Refusal(431), ends=True)
        else:
            self.transport.resume_reading()
            if self.buffer and self.timer is None:
                # Not renewed by each byte, as that is what a slow loris sends.
                late = Refusal(408)
                self.timer = self.loop.call_later(HEAD_SECONDS, self.refuse, late, b"GET", True)

    def answer(self, head: bytes) -> None:
        request = HEAD.fullmatch(head)
        if request is None:
            self.refuse(Refusal(400), ends=True)
            return
        method, target, minor, fields = request.groups()
        if fields != self.fields:  # most clients send the same headers with each request
            self.fields, self.headers = fields, parsed(fields)
        headers = self.headers
        wanted = headers.get(b"connection", b"").lower()
        if b"close" in wanted or (minor == b"0" and b"keep-alive" not in wanted):
            self.keep = False
        try:
            # No page needs a body: whoever took it for the next request would answer what nobody has asked.
            body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
            if method not in (b"GET", b"HEAD"):
                self.keep = self.keep and not body
                raise Refusal(405, "Allow: GET, HEAD\r\n")
            host = headers.get(b"host", b"," if minor == b"1" else b"")
            if body or b"," in host:  # a comma: there were two
                raise Refusal(400)
            self.send_page(method, target, headers, minor)
        except Refusal as refusal:
            self.refuse(refusal, method, ends=refusal.status == 400)

    def send_page(self, method: bytes, target: bytes, headers: dict[bytes, bytes], minor: bytes) -> None:
        fd, found, suffix = self.site.open(target)
        try:
            size = found.st_size
            etag, modified, about = described(suffix, found.st_mtime_ns, size)
            status, first, count = 200, 0, size
            if unchanged(headers, etag, modified, int(found.st_mtime)):
                status, count = 304, 0
            elif b"range" in headers and method == b"GET" and headers.get(b"if-range", etag) in (etag, modified):
                part = part_of(headers[b"range"], size)
                if part is not None:
                    status, (first, count) = 206, part
                    about += b"Content-Range: bytes %d-%d/%d\r\n" % (first, first + count - 1, size)
            head = status_line_and_date(status, int(time.time())) + about
            if status != 304:
                head += b"Content-Length: %d\r\n" % count
            if not self.keep:
                head += b"Connection: close\r\n"
            elif minor == b"0":
                head += b"Connection: keep-alive\r\n"
            head += b"\r\n"
            if method == b"HEAD" or not count:
                self.transport.write(head)
            elif count < self.sendfile_from:
                body = os.pread(fd, count, first)
                if len(body) < count:
                    self.refused = True
                    self.transport.abort()  # somebody cuts the file off at this moment
                    return
                self.transport.write(head + body)
            else:
                self.transport.write(head)
                file = open(fd, "rb", buffering=0)
                fd = -1
                self.sending = self.loop.create_task(self.send_file(file, first, count))
                return
        finally:
            if fd >= 0:
                os.close(fd)
        if not self.keep:
            self.end()

    async def send_file(self, file: Any, first: int, count: int) -> None:
        try:
            with file:
                whole = await self.loop.sendfile(self.transport, file, first, count) == count
        except OSError:
            whole = False
        self.sending = None
        if not whole:
            # The client has left, or somebody has cut the file off. Nothing is read here, so nobody else would see it.
            self.refused = True
            self.transport.abort()
            return
        if self.keep:
            self.answer_requests()
        else:
            self.end()

    def refuse(self, refusal: Refusal, method: bytes = b"GET", ends: bool = False) -> None:
        """Answer with an error. ``ends``: what follows on this connection can't be understood."""
        status = refusal.status
        self.keep = self.keep and not ends
        body = f"{status} {HTTPStatus(status).phrase}\n"
        head = (
            f"{refusal.headers}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
            + ("" if self.keep else "Connection: close\r\n")
            + "\r\n"
            + ("" if method == b"HEAD" else body)
        )
        self.transport.write(status_line_and_date(status, int(time.time())) + head.encode("latin-1"))
        if not self.keep:
            self.end()

    def end(self) -> None:
        # A close with unread bytes resets the connection, and the client may lose the answer: so close(2) comes after its end.
        self.refused = True
        self.buffer = b""
        self.transport.write_eof()
        self.transport.resume_reading()
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)


def parsed(fields: bytes) -> dict[bytes, bytes]:
    """Return the headers that matter, their names in lower case. One that comes twice has both values."""
    headers: dict[bytes, bytes] = {}
    for name, value in HEADERS.findall(fields):
        name = name.lower()
        headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def unchanged(headers: dict[bytes, bytes], etag: bytes, modified: bytes, changed: int) -> bool:
    """Return True if the client has the file already."""
    if b"if-none-match" in headers:
        known = headers[b"if-none-match"]
        return known == b"*" or etag in (tag.strip().removeprefix(b"W/") for tag in known.split(b","))
    since = headers.get(b"if-modified-since")
    if since is None or since == modified:
        return since is not None
    try:
        return changed <= email.utils.parsedate_to_datetime(since.decode("latin-1")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return False  # no date: as if it wasn't there


def part_of(wanted: bytes, size: int) -> tuple[int, int] | None:
    """Return the first byte and the number of bytes; None for what is no single range: then the whole file is sent."""
    found = RANGE.fullmatch(wanted)
    if found is None or found.groups() == (b"", b""):
        return None
    begin, last = found.groups()
    if not begin:
        first, end = max(size - int(last), 0), size
    else:
        first, end = int(begin), min(int(last) + 1 if last else size, size)
        if last and int(last) < first:
            return None
    if first >= end:
        raise Refusal(416, f"Content-Range: bytes */{size}\r\n")
    return first, end - first


async def serve(root: Path, host: str, port: int, sendfile_from: int, limits: dict[str, Any]) -> None:
    """Serve ``root`` until SIGINT or SIGTERM. OSError if the address or the directory can't be had."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, edgeloop.EventLoop)  # limits and drain() are its own
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    site = Site(root)
    server = await loop.create_server(lambda: Pages(site, sendfile_from), host, port, backlog=1024, **limits)
    for listener in server.sockets:
        print("Pages at http://{}:{}/".format(*listener.getsockname()[:2]), flush=True)
    await stop.wait()
    await server.drain(GRACE)
    site.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The files of a directory over HTTP, on edgeloop.")
    parser.add_argument("root", type=Path, nargs="?", default=Path("."), help="directory (default: this one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 lets the kernel choose (default: %(default)s)")
    parser.add_argument("--max-connections", type=int, default=10_000, help="then new ones wait (default: %(default)s)")
    parser.add_argument("--idle-timeout", type=float, default=60.0, help="seconds (default: %(default)s)")
    parser.add_argument("--write-timeout", type=float, default=30.0, help="seconds (default: %(default)s)")
    parser.add_argument("--sendfile-from", type=int, default=SENDFILE_FROM, help="bytes (default: %(default)s)")
    arguments = parser.parse_args()
    limits = {name: getattr(arguments, name) for name in ("max_connections", "idle_timeout", "write_timeout")}
    edgeloop.run(serve(arguments.root, arguments.host, arguments.port, arguments.sendfile_from, limits))
