"""Requests and bodies through nginx: few connections for many requests, large bodies both ways, TLS on either side."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import ClientSession
from nginx_process import UNBUFFERED, Nginx
from proxied_application import CHUNK, Application, chunks, digest, serving
from services.running import run

COUNT = 1000  # chunks: 62.5 MiB

BUFFERED = ""  # nginx's default: it takes a whole request body before it passes it on


async def body(count: int = COUNT) -> AsyncIterator[bytes]:
    for chunk in chunks(count):
        yield chunk


async def read_digest(session: ClientSession, url: str) -> str:
    sha256 = hashlib.sha256()
    async with session.get(url) as answer:
        async for chunk in answer.content.iter_any():
            sha256.update(chunk)
    return sha256.hexdigest()


def test_requests_one_after_the_other_share_a_connection(where: str | None) -> None:
    async def main() -> None:
        application = Application()
        async with serving(application, path=where) as upstream:
            with Nginx(upstream) as proxy:
                async with ClientSession(raise_for_status=True) as session:
                    for number in range(300):
                        async with session.post(f"{proxy.url}/echo", data=b"%d" % number) as answer:
                            assert await answer.read() == b"%d" % number
        assert len(application.connections) == 1

    run(main())


def test_concurrent_requests_get_their_own_answers(where: str | None) -> None:
    async def main() -> None:
        application = Application()
        async with serving(application, path=where) as upstream:
            with Nginx(upstream, workers=2) as proxy:
                async with ClientSession(raise_for_status=True) as session:

                    async def client(number: int) -> None:
                        for size in (0, 1, 1000, 100_000):
                            data = b"%08d" % number * size
                            async with session.post(f"{proxy.url}/echo", data=data) as answer:
                                assert await answer.read() == data

                    await asyncio.gather(*map(client, range(64)))
        # nginx keeps no more than 16 idle connections in each worker, and closes the others: the loop saw both.
        assert 2 <= len(application.connections) <= 256

    run(main())


@pytest.mark.parametrize("location", [UNBUFFERED, BUFFERED], ids=["unbuffered", "buffered"])
def test_large_upload(where: str | None, location: str) -> None:
    async def main() -> None:
        application = Application()
        async with serving(application, path=where) as upstream:
            with Nginx(upstream, location=location) as proxy:
                async with (
                    ClientSession(raise_for_status=True) as session,
                    session.post(f"{proxy.url}/upload", data=body()) as answer,
                ):
                    assert await answer.json() == {"size": COUNT * CHUNK, "sha256": digest(COUNT)}

    run(main())


@pytest.mark.parametrize("location", [UNBUFFERED, BUFFERED], ids=["unbuffered", "buffered"])
def test_large_download(where: str | None, location: str) -> None:
    async def main() -> None:
        application = Application()
        async with serving(application, path=where) as upstream:
            with Nginx(upstream, location=location) as proxy:
                async with ClientSession(raise_for_status=True) as session:
                    assert await read_digest(session, f"{proxy.url}/download/{COUNT}") == digest(COUNT)
        assert application.ends.get_nowait() is None

    run(main())


def test_file(tmp_path: Path, where: str | None) -> None:
    """A file goes out by sendfile."""
    files = tmp_path / "files"
    files.mkdir()
    with (files / "large").open("wb") as file:
        file.writelines(chunks(COUNT))

    async def main() -> None:
        async with serving(Application(files), path=where) as upstream:
            with Nginx(upstream) as proxy:
                async with ClientSession(raise_for_status=True) as session:
                    whole, again = await asyncio.gather(
                        *(read_digest(session, f"{proxy.url}/files/large") for _ in range(2))
                    )
                    assert whole == again == digest(COUNT)
                    part = {"Range": f"bytes={CHUNK - 8}-{CHUNK + 7}"}
                    async with session.get(f"{proxy.url}/files/large", headers=part) as answer:
                        assert (answer.status, await answer.read()) == (206, b"0" * 8 + b"0" * 8)

    run(main())


def test_a_client_that_does_not_read_stops_the_application(where: str | None) -> None:
    """What the application may write before somebody reads is bounded by the buffers on the way, not by the body."""
    count = 4000  # 250 MiB

    async def main() -> None:
        application = Application()
        async with serving(application, path=where) as upstream:
            with Nginx(upstream) as proxy:
                async with (
                    ClientSession(raise_for_status=True) as session,
                    session.get(f"{proxy.url}/download/{count}") as answer,
                ):
                    await application.started.wait()
                    written = -1
                    while application.written != written:  # until it has stopped
                        written = application.written
                        await asyncio.sleep(0.5)
                    assert written < count / 2
                    sha256 = hashlib.sha256()
                    async for chunk in answer.content.iter_any():
                        sha256.update(chunk)
                    assert sha256.hexdigest() == digest(count)
        assert application.written == count

    run(main())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_tls_between_client_and_nginx(tmp_path: Path, authority: trustme.CA) -> None:
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "pair.pem")
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    async def main() -> None:
        pair = f"ssl_certificate {tmp_path}/pair.pem; ssl_certificate_key {tmp_path}/pair.pem;"
        async with serving(Application()) as upstream:
            with Nginx(upstream, listen=" ssl", server=pair) as proxy:
                assert proxy.url.startswith("https:")
                async with ClientSession(raise_for_status=True) as session:
                    async with session.post(f"{proxy.url}/upload", data=body(), ssl=client_context) as answer:
                        assert (await answer.json())["sha256"] == digest(COUNT)
                    sha256 = hashlib.sha256()
                    async with session.get(f"{proxy.url}/download/{COUNT}", ssl=client_context) as answer:
                        async for chunk in answer.content.iter_any():
                            sha256.update(chunk)
                    assert sha256.hexdigest() == digest(COUNT)

    run(main())


def test_tls_between_nginx_and_application(tmp_path: Path, authority: trustme.CA) -> None:
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("application").configure_cert(server_context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    verify = f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {tmp_path}/authority.pem; proxy_ssl_name application;"

    async def main() -> None:
        application = Application()
        async with serving(application, ssl_context=server_context) as upstream:
            with Nginx(upstream, scheme="https", location=UNBUFFERED + verify) as proxy:
                async with ClientSession(raise_for_status=True) as session:
                    async with session.post(f"{proxy.url}/upload", data=body()) as answer:
                        assert (await answer.json())["sha256"] == digest(COUNT)
                    assert await read_digest(session, f"{proxy.url}/download/{COUNT}") == digest(COUNT)

    run(main())
