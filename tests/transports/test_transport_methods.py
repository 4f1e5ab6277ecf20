"""What each transport can be asked, and what it can't: as asyncio's own, down to the exception."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

Loop = asyncio.AbstractEventLoop
Closing = list[Callable[[], object]]


async def stream(loop: Loop, closing: Closing) -> Any:
    ours, theirs = socket.socketpair()
    closing.append(theirs.close)
    return (await loop.create_connection(asyncio.Protocol, sock=ours))[0]


async def datagram(loop: Loop, closing: Closing) -> Any:
    return (await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)))[0]


async def read_pipe(loop: Loop, closing: Closing) -> Any:
    read, write = os.pipe()
    closing.append(lambda: os.close(write))
    return (await loop.connect_read_pipe(asyncio.Protocol, open(read, "rb", 0)))[0]


async def write_pipe(loop: Loop, closing: Closing) -> Any:
    read, write = os.pipe()
    closing.append(lambda: os.close(read))
    return (await loop.connect_write_pipe(asyncio.BaseProtocol, open(write, "wb", 0)))[0]


async def child(loop: Loop, closing: Closing) -> Any:
    return (await loop.subprocess_exec(asyncio.SubprocessProtocol, "true"))[0]


KINDS = [stream, datagram, read_pipe, write_pipe, child]
METHODS: dict[str, tuple[Any, ...]] = {
    "is_reading": (),
    "pause_reading": (),
    "resume_reading": (),
    "write": (b"",),
    "writelines": ([b""],),
    "can_write_eof": (),
    "get_write_buffer_size": (),
    "get_write_buffer_limits": (),
    "set_write_buffer_limits": (),
    "get_protocol": (),
    "is_closing": (),
    "get_extra_info": ("nothing",),
    "get_pid": (),
    "get_returncode": (),
    "get_pipe_transport": (7,),
    "sendto": (b"", ("127.0.0.1", 9)),
    "write_eof": (),
    "abort": (),
    "close": (),
}
NOT_THERE: dict[str, list[str]] = {
    "stream": ["get_pid", "get_returncode", "get_pipe_transport", "sendto"],
    "datagram": ["get_pid", "get_returncode", "get_pipe_transport"],
    "read_pipe": [
        "write",
        "writelines",
        "can_write_eof",
        "get_write_buffer_size",
        "get_write_buffer_limits",
        "set_write_buffer_limits",
        "get_pid",
        "get_returncode",
        "get_pipe_transport",
        "sendto",
        "write_eof",
        "abort",
    ],
    "write_pipe": ["get_pid", "get_returncode", "get_pipe_transport", "sendto"],
    "child": [
        "is_reading",
        "pause_reading",
        "resume_reading",
        "write",
        "writelines",
        "can_write_eof",
        "get_write_buffer_size",
        "get_write_buffer_limits",
        "set_write_buffer_limits",
        "sendto",
        "write_eof",
        "abort",
    ],
}
NOT_IMPLEMENTED: dict[str, list[str]] = {
    "datagram": ["write", "writelines", "can_write_eof", "write_eof"],
    "write_pipe": ["is_reading", "pause_reading", "resume_reading"],
}


@pytest.mark.parametrize("make", KINDS)
async def test_methods(loop: Loop, make: Callable[[Loop, Closing], Coroutine[Any, Any, Any]]) -> None:
    name = make.__name__

    closing: Closing = []
    transport = await make(loop, closing)
    missing, refused = [], []
    for method, arguments in METHODS.items():
        try:
            getattr(transport, method)(*arguments)
        except AttributeError:
            missing.append(method)
        except NotImplementedError:
            refused.append(method)
    await asyncio.sleep(0.01)
    for close in closing:
        close()
    if name == "child":
        await transport._wait()
        await asyncio.sleep(0.01)
    assert missing == NOT_THERE[name]
    assert refused == NOT_IMPLEMENTED.get(name, [])


@pytest.mark.parametrize("make", KINDS)
async def test_what_isinstance_says(loop: Loop, make: Callable[[Loop, Closing], Coroutine[Any, Any, Any]]) -> None:
    expected = {
        "stream": (True, True, False, False),
        "datagram": (True, True, True, False),
        "read_pipe": (True, False, False, False),
        "write_pipe": (True, True, False, False),
        "child": (False, False, False, True),
    }

    closing: Closing = []
    transport = await make(loop, closing)
    kinds = (asyncio.ReadTransport, asyncio.WriteTransport, asyncio.DatagramTransport, asyncio.SubprocessTransport)
    seen = tuple(isinstance(transport, kind) for kind in kinds)
    transport.close()
    await asyncio.sleep(0.01)
    for close in closing:
        close()
    if make is child:
        await transport._wait()
        await asyncio.sleep(0.01)
    assert seen == expected[make.__name__]
