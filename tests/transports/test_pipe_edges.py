"""Pipes and child processes against the rules of edge triggering, as the kernel tells it in /proc/self/fdinfo."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest
from kernel_truth import EDGE, IN, OUT, RDHUP, epoll_set
from pipe_recording import read_all, read_pipe, write_pipe

pytestmark = pytest.mark.edgeloop_only


async def test_rule_1_registered_once_with_an_edge() -> None:
    loop = asyncio.get_running_loop()
    async with read_pipe() as (reading, _, _), write_pipe() as (writing, _, _):
        for transport, wanted in ((reading, IN | RDHUP), (writing, RDHUP)):
            mask = epoll_set(loop)[transport.get_extra_info("pipe").fileno()]
            assert mask & EDGE
            assert mask & (IN | OUT | RDHUP) == wanted


async def test_rule_4_writability_is_watched_once_the_pipe_is_full() -> None:
    loop = asyncio.get_running_loop()
    async with write_pipe() as (transport, _, read):
        fd = transport.get_extra_info("pipe").fileno()
        assert not epoll_set(loop)[fd] & OUT
        transport.write(b"x" * 1_000_000)
        assert epoll_set(loop)[fd] & OUT
        while transport.get_write_buffer_size():
            read_all(read)
            await asyncio.sleep(0)
        read_all(read)
        transport.write(b"works still")
        for _ in range(3):
            await asyncio.sleep(0)
        assert read_all(read) == b"works still"


async def test_rule_7_pause_is_a_flag() -> None:
    loop = asyncio.get_running_loop()
    async with read_pipe() as (transport, protocol, write):
        before = epoll_set(loop)
        transport.pause_reading()
        os.write(write, b"x")
        for _ in range(3):
            await asyncio.sleep(0)
        assert epoll_set(loop) == before
        transport.resume_reading()
        assert epoll_set(loop) == before
        await protocol.bytes_in(1)


async def test_nothing_stays_in_the_set() -> None:
    loop = asyncio.get_running_loop()
    before = epoll_set(loop)
    child = await asyncio.create_subprocess_exec(
        "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert len(epoll_set(loop)) == len(before) + 4  # three pipes and the pidfd
    await child.communicate(b"x")
    await asyncio.sleep(0)
    assert epoll_set(loop) == before
