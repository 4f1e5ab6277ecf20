"""A TLS server for tlsfuzzer's scripts: ``python fuzzed_server.py edgeloop|asyncio page|echo CERT KEY``. It prints its port.

It answers a GET as ``openssl s_server -www`` does, or sends back what comes: a script is written for one of these. All is
allowed that OpenSSL has.
"""

from __future__ import annotations

import asyncio
import ssl
import sys

import edgeloop

PAGE = b"HTTP/1.0 200 ok\r\nContent-type: text/html\r\n\r\nhello\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\n") not in (b"\r\n", b"\n"):
            pass
        writer.write(PAGE)
        await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        pass  # what the scripts are for
    finally:
        writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def context(certificate: str, key: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    made.minimum_version = ssl.TLSVersion.TLSv1
    made.set_ciphers("ALL:@SECLEVEL=0")
    return made


async def serve(what: str, certificate: str, key: str) -> None:
    handler = {"page": answer, "echo": echo}[what]
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context(certificate, key))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main(loop: str, what: str, certificate: str, key: str) -> None:
    factory = asyncio.SelectorEventLoop if loop == "asyncio" else edgeloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(what, certificate, key))


if __name__ == "__main__":
    main(*sys.argv[1:])
