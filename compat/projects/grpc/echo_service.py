"""A gRPC service without generated code: messages are bytes, methods are registered by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

SERVICE = "test.Echo"


class Echo:
    """The service's methods, and what became of the calls."""

    def __init__(self) -> None:
        self.running = 0
        self.cancelled = 0

    async def unary(self, request: bytes, context: aio.ServicerContext) -> bytes:
        return request

    async def count(self, request: bytes, context: aio.ServicerContext) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield str(number).encode()

    async def total(self, requests: AsyncIterator[bytes], context: aio.ServicerContext) -> bytes:
        return str(sum([len(one) async for one in requests])).encode()

    async def both(self, requests: AsyncIterator[bytes], context: aio.ServicerContext) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def read_and_write(self, _: Any, context: aio.ServicerContext) -> None:
        """The same as ``both``, with the context's own calls."""
        while (request := await context.read()) is not aio.EOF:
            await context.write(request)

    async def sleep(self, request: bytes, context: aio.ServicerContext) -> bytes:
        """Sleep for ever; who cancels the call cancels this."""
        self.running += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return b""

    async def never_ending(self, request: bytes, context: aio.ServicerContext) -> AsyncIterator[bytes]:
        self.running += 1
        try:
            while True:
                yield request
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def refuse(self, request: bytes, context: aio.ServicerContext) -> bytes:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, request.decode())
        return b""

    async def fail(self, request: bytes, context: aio.ServicerContext) -> bytes:
        raise ValueError("a mistake of the service")

    async def in_a_thread(self, request: bytes, context: aio.ServicerContext) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(None, request.upper)

    def handler(self) -> grpc.GenericRpcHandler:
        methods = {
            "unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "count": grpc.unary_stream_rpc_method_handler(self.count),
            "total": grpc.stream_unary_rpc_method_handler(self.total),
            "both": grpc.stream_stream_rpc_method_handler(self.both),
            "read_and_write": grpc.stream_stream_rpc_method_handler(self.read_and_write),
            "sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "never_ending": grpc.unary_stream_rpc_method_handler(self.never_ending),
            "refuse": grpc.unary_unary_rpc_method_handler(self.refuse),
            "fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "in_a_thread": grpc.unary_unary_rpc_method_handler(self.in_a_thread),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)


OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]


class Client:
    """The service's methods seen from the other side of ``channel``."""

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel
        for name in ("unary", "sleep", "refuse", "fail", "in_a_thread"):
            setattr(self, name, channel.unary_unary(f"/{SERVICE}/{name}"))
        for name in ("count", "never_ending"):
            setattr(self, name, channel.unary_stream(f"/{SERVICE}/{name}"))
        self.total = channel.stream_unary(f"/{SERVICE}/total")
        self.both = channel.stream_stream(f"/{SERVICE}/both")
        self.read_and_write = channel.stream_stream(f"/{SERVICE}/read_and_write")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


async def serve(port: int = 0, credentials: grpc.ServerCredentials | None = None) -> tuple[aio.Server, Echo, int]:
    """Start a server on 127.0.0.1; it, its service, and its port."""
    service = Echo()
    server = aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((service.handler(),))
    where = f"127.0.0.1:{port}"
    port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    await server.start()
    return server, service, port


@asynccontextmanager
async def both_sides() -> AsyncIterator[tuple[Client, Echo]]:
    """A server and a client in this loop."""
    server, service, port = await serve()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
            yield Client(channel), service
    finally:
        await server.stop(None)
