"""Uses an installed edgeloop as a program would: aiohttp serves and asks, over TCP and TLS; datagrams, a child, a thread.

python smoke_test.py EDITION, in the environment that has edgeloop and aiohttp. It is one file, to be copied anywhere. TLS is
left out, and said to be, where the interpreter has no ssl module or there is no openssl to make a certificate.
"""

from __future__ import annotations

import asyncio
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

import edgeloop

SIZE = 1 << 20


async def http(ssl_server: Any = None, ssl_client: Any = True) -> None:
    async def double(request: web.Request) -> web.Response:
        return web.Response(body=await request.read() * 2)

    app = web.Application(client_max_size=2 * SIZE)
    app.router.add_post("/", double)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_server)
    await site.start()
    port = runner.addresses[0][1]
    scheme = "http" if ssl_server is None else "https"
    async with ClientSession() as session:
        for body in (b"edge", b"x" * SIZE):
            async with session.post(f"{scheme}://127.0.0.1:{port}/", data=body, ssl=ssl_client) as answer:
                assert answer.status == 200
                assert await answer.read() == body * 2
    await runner.cleanup()


async def https() -> None:
    import ssl

    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
        subprocess.run(
            (
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
            ),
            check=True,
            capture_output=True,
        )
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(certificate, key)
        await http(server, ssl.create_default_context(cafile=str(certificate)))


async def streams() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await edgeloop.start_server(echo, "127.0.0.1", 0)
    reader, writer = await edgeloop.open_connection(*server.sockets[0].getsockname())
    for count in range(100):
        writer.write(b"%d\n" % count)
        assert await reader.readline() == b"%d\n" % count
    writer.close()
    server.close()
    await server.wait_closed()


async def datagrams() -> None:
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: Any) -> None:
            self.transport.sendto(data, address)

    class Asker(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, address: Any) -> None:
            answers.put_nowait(data)

    server, _ = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
    client, _ = await loop.create_datagram_endpoint(Asker, remote_addr=server.get_extra_info("sockname"))
    client.sendto(b"datagram")
    assert await answers.get() == b"datagram"
    client.close()
    server.close()


async def child() -> None:
    process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert (await process.communicate(b"child"))[0] == b"child"
    assert process.returncode == 0


async def threads_and_timers() -> None:
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, sum, range(10)) == 45
    begin = loop.time()
    await asyncio.sleep(0.01)
    assert loop.time() >= begin + 0.01


def main() -> None:
    expected = sys.argv[1]
    assert edgeloop.EDITION == expected, f"the {edgeloop.EDITION} edition runs, not the {expected} one"
    steps: list[Any] = [http, streams, datagrams, child, threads_and_timers]
    try:
        import ssl  # noqa: F401
    except ImportError:
        print("TLS is left out: this Python has no ssl module")
    else:
        if shutil.which("openssl"):
            steps.append(https)
        else:
            print("TLS is left out: there is no openssl program here")
    warnings.simplefilter("error")
    for step in steps:
        edgeloop.run(asyncio.wait_for(step(), 300))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.machine()}, {' '.join(platform.libc_ver()) or 'a C library that says no version'}"
    print(f"edgeloop {edgeloop.__version__}, {edgeloop.EDITION}, {python}, {system}: {len(steps)} passed, 0 failed")


if __name__ == "__main__":
    main()
