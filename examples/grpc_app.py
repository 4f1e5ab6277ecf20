r"""A gRPC service on edgeloop: a board that clients write on and watch, with calls of every kind.

    python examples/grpc_app.py --port 50051                                    # the service
    python examples/grpc_app.py --client post tea "kettle is on"                # one note; prints its number
    python examples/grpc_app.py --client notes tea                              # all notes of a topic, streamed
    python examples/grpc_app.py --client watch tea                              # the notes to come, until Ctrl-C
    python examples/grpc_app.py --client load tea < notes.txt                   # a note from each line, streamed up

Messages are JSON instead of protocol buffers, so that the example is one file without generated code: grpcio takes any
function as serializer. With protocol buffers it would be the add_..._to_server function of the generated module that
registers the methods; everything else stays the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc import aio

import edgeloop

SERVICE = "example.Board"
BEHIND = 1000  # notes that a watcher may be behind before its call is ended

Message = dict[str, Any]


def dump(message: Message) -> bytes:
    return json.dumps(message).encode()


class Board:
    """Notes by topic, and who watches which."""

    def __init__(self) -> None:
        self.notes: defaultdict[str, list[str]] = defaultdict(list)
        self.watchers: defaultdict[str, set[asyncio.Queue[Message]]] = defaultdict(set)

    def add(self, topic: str, text: str) -> int:
        self.notes[topic].append(text)
        note = {"number": len(self.notes[topic]), "text": text}
        for queue in list(self.watchers[topic]):
            try:
                queue.put_nowait(note)
            except asyncio.QueueFull:
                self.watchers[topic].discard(queue)
        return len(self.notes[topic])

    async def post(self, request: Message, context: aio.ServicerContext) -> Message:
        if not request.get("text"):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a note needs a text")
        return {"number": self.add(request["topic"], request["text"])}

    async def notes_of(self, request: Message, context: aio.ServicerContext) -> AsyncIterator[Message]:
        for number, text in enumerate(self.notes[request["topic"]], 1):
            yield {"number": number, "text": text}

    async def load(self, requests: AsyncIterator[Message], context: aio.ServicerContext) -> Message:
        return {"loaded": len([self.add(one["topic"], one["text"]) async for one in requests])}

    async def watch(self, request: Message, context: aio.ServicerContext) -> AsyncIterator[Message]:
        """The notes from now on, until the client cancels the call, which cancels this too."""
        queue: asyncio.Queue[Message] = asyncio.Queue(BEHIND)
        watchers = self.watchers[request["topic"]]
        watchers.add(queue)
        try:
            await context.send_initial_metadata(())  # tells the client that from now on it misses nothing
            while queue in watchers or not queue.empty():
                yield await queue.get()
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too slow")
        finally:
            watchers.discard(queue)

    def handler(self) -> grpc.GenericRpcHandler:
        kinds: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
            "Post": (grpc.unary_unary_rpc_method_handler, self.post),
            "Notes": (grpc.unary_stream_rpc_method_handler, self.notes_of),
            "Load": (grpc.stream_unary_rpc_method_handler, self.load),
            "Watch": (grpc.unary_stream_rpc_method_handler, self.watch),
        }
        methods = {name: make(method, json.loads, dump) for name, (make, method) in kinds.items()}
        return grpc.method_handlers_generic_handler(SERVICE, methods)


async def serve(host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM. RuntimeError if the address can't be had."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    server = aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Board().handler(),))
    port = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    print(f"gRPC at {host}:{port}", flush=True)
    await stop.wait()
    await server.stop(1)


async def call(address: str, what: str, topic: str, text: str) -> None:
    """Make one call and print what comes of it. grpc.aio.AioRpcError if the service refuses it or isn't there."""
    async with aio.insecure_channel(address) as channel:
        request = {"topic": topic, "text": text}
        path = f"/{SERVICE}/{what.capitalize()}"
        if what == "post":
            print((await channel.unary_unary(path, dump, json.loads)(request))["number"])
        elif what == "load":
            lines = ({"topic": topic, "text": line.rstrip("\n")} for line in sys.stdin)
            print((await channel.stream_unary(path, dump, json.loads)(lines))["loaded"])
        else:
            answers = channel.unary_stream(path, dump, json.loads)(request)
            await answers.initial_metadata()
            if what == "watch":
                print("watching", file=sys.stderr, flush=True)
            async for note in answers:
                print("{number}: {text}".format(**note), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A board to write on and to watch, through gRPC, on edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=50051, help="0 lets the kernel choose (default: %(default)s)")
    parser.add_argument("--client", choices=["post", "notes", "load", "watch"], help="call the service instead")
    parser.add_argument("topic", nargs="?", default="", help="the client's")
    parser.add_argument("text", nargs="?", default="", help="what the client posts")
    arguments = parser.parse_args()
    if not arguments.client:
        edgeloop.run(serve(arguments.host, arguments.port))
        return
    address = f"{arguments.host}:{arguments.port}"
    try:
        edgeloop.run(call(address, arguments.client, arguments.topic, arguments.text))
    except KeyboardInterrupt:
        pass
    except aio.AioRpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
