"""A server that is started to be measured: ``python -m benchmarks.coldstart PACKAGE``.

It imports no more than what it needs, asyncio and the loop, listens on a free port of 127.0.0.1, prints the port, and
echoes until it is killed. PACKAGE is the loop's, "asyncio" for the standard library's.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import cast


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: not every loop's transport passes for asyncio.Transport in isinstance.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Not serve_forever: not every loop's server listens in it.
    await asyncio.get_running_loop().create_future()


def main() -> None:
    package = sys.argv[1]
    if package == "asyncio":
        factory = asyncio.SelectorEventLoop
    else:
        factory = importlib.import_module(package).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
