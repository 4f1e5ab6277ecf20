"""TLS with the programs people use: openssl's client and server, curl."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from recording import Recorder, record_errors
from tls_certificates import client_context, server_context, write_files

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs the curl program")
versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
OPTION = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


class Program:
    """A process with pipes; waiting for its output is done in a thread, off the loop."""

    def __init__(self, *arguments: str | Path, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
        )
        self.output = b""

    def say(self, text: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    async def until(self, text: bytes) -> bytes:
        """Everything it has printed, up to ``text`` and perhaps more."""
        assert self.process.stdout is not None
        loop = asyncio.get_running_loop()
        while text not in self.output:
            part = await loop.run_in_executor(None, os.read, self.process.stdout.fileno(), 65536)
            assert part, self.output
            self.output += part
        return self.output

    async def finished(self) -> tuple[int, bytes]:
        """Its exit code and the rest of its output."""
        output, _ = await asyncio.get_running_loop().run_in_executor(None, self.process.communicate)
        return self.process.returncode, self.output + output

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class Lines(Recorder):
    """Answers each line in capitals; closes after "quit"."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data.upper())
        if b"quit" in data:
            self.transport.close()


@contextlib.asynccontextmanager
async def line_server(context: ssl.SSLContext) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Lines, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def s_client(port: int, trust: Path, *options: str) -> Program:
    target = ("-connect", f"127.0.0.1:{port}", "-servername", "localhost")
    checks = ("-CAfile", str(trust), "-verify_return_error", "-verify_hostname", "localhost")
    return Program("openssl", "s_client", *target, *checks, *options)


@contextlib.asynccontextmanager
async def s_server(tmp_path: Path, *options: str) -> AsyncIterator[tuple[Program, int]]:
    _, chain, key = write_files(tmp_path)
    with Program(
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", chain, "-key", key, *options, cwd=tmp_path
    ) as program:
        while not program.output.partition(b"ACCEPT 127.0.0.1:")[2].partition(b"\n")[1]:
            await program.until(b"ACCEPT")
            if b"\n" not in program.output.partition(b"ACCEPT")[2]:
                await program.until(b"\n" * (program.output.count(b"\n") + 1))
        port = int(program.output.partition(b"ACCEPT 127.0.0.1:")[2].split()[0])
        yield program, port


@needs_openssl
@versions
async def test_openssl_s_client(tmp_path: Path, version: str) -> None:
    trust, _, _ = write_files(tmp_path)

    async with line_server(server_context()) as port:
        with s_client(port, trust, "-quiet", OPTION[version]) as program:
            program.say(b"hello\n")
            await program.until(b"HELLO\n")
            program.say(b"quit\n")
            code, output = await program.finished()
            assert code == 0, output
            assert b"QUIT\n" in output


@needs_openssl
async def test_keys_are_updated_in_the_middle(tmp_path: Path) -> None:
    """RFC 8446, section 4.6.3: "K" at s_client updates its keys and asks for the server's to be updated too."""
    trust, _, _ = write_files(tmp_path)

    async with line_server(server_context(version="TLSv1.3")) as port:
        with s_client(port, trust) as program:
            await program.until(b"Verify return code: 0 (ok)")
            for number in range(3):
                program.say(b"K\n")
                await program.until(b"KEYUPDATE\n")
                program.output = b""
                program.say(b"hello %d\n" % number)
                await program.until(b"HELLO %d\n" % number)
            program.say(b"quit\n")
            await program.until(b"QUIT\n")


@needs_openssl
@versions
async def test_openssl_s_server(tmp_path: Path, version: str) -> None:
    async with s_server(tmp_path, "-rev", OPTION[version]) as (_, port):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context(), server_hostname="localhost"
        )
        for word in (b"hello", b"x" * 10_000):
            writer.write(word + b"\n")
            assert await reader.readline() == word[::-1] + b"\n"
        writer.close()
        await writer.wait_closed()


@needs_openssl
async def test_a_renegotiation_in_the_middle(tmp_path: Path) -> None:
    """TLS 1.2: the server asks for a new handshake while the client goes on writing."""
    lines = [b"line %d\n" % number for number in range(1000)]
    renegotiated = b"SSL_do_handshake -> 1"

    errors = record_errors(asyncio.get_running_loop())
    async with s_server(tmp_path, "-tls1_2") as (program, port):
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, "127.0.0.1", port, ssl=client_context(version="TLSv1.2"), server_hostname="localhost"
        )
        await program.until(b"Secure Renegotiation IS supported")
        reading = asyncio.ensure_future(program.until(lines[-1]))
        for number, line in enumerate(lines):
            transport.write(line)
            if number % 50 == 25:
                while program.output.count(renegotiated) < number // 50:  # of two "r" at once openssl sees one
                    await asyncio.sleep(0.001)
                program.say(b"r\n")
            await asyncio.sleep(0.0002)
        output = await reading
        at = 0
        for line in lines:
            at = output.index(line, at)
        program.say(b"and back\n")
        assert await protocol.bytes_in(9) == b"and back\n"
        assert output.count(renegotiated) == 20
        transport.close()
        await protocol.lost()
    assert errors == []


@needs_openssl
@needs_curl
@versions
async def test_curl(tmp_path: Path, version: str) -> None:
    trust, _, _ = write_files(tmp_path)
    body = os.urandom(5_000_000)
    upload = tmp_path / "upload"
    upload.write_bytes(body)
    digest = hashlib.sha256(body).hexdigest()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """GET answers with the body, POST with the digest of what was posted; the connection stays open."""
        while request := await reader.readline():
            length = 0
            while (line := await reader.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
                elif name.lower() == b"expect":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            posted = await reader.readexactly(length)
            answer = body if request.startswith(b"GET") else hashlib.sha256(posted).hexdigest().encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
            writer.write(answer)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(version=version))
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    options = ("--silent", "--show-error", "--fail", "--noproxy", "*", "--http1.1", "--ipv4", "--cacert", trust)
    downloads = tmp_path / "1", tmp_path / "2"
    with Program("curl", *options, "-o", downloads[0], url, "-o", downloads[1], url) as program:
        assert await program.finished() == (0, b"")
    for path in downloads:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    with Program("curl", *options, "--data-binary", f"@{upload}", url) as program:
        assert await program.finished() == (0, digest.encode())
    server.close()
    await server.wait_closed()
