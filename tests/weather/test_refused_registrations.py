"""Connections whose descriptor epoll does not take: epoll_ctl(2) ADD fails with ENOSPC where max_user_watches is reached."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap

import pytest
from kernel_truth import needs_gcc
from weather_runs import environment

PROGRAM = textwrap.dedent(
    """
    import asyncio, json, socket, sys
    from failing_calls import FailingCalls
    import edgeloop

    calls = FailingCalls()

    class Protocol(asyncio.DatagramProtocol):
        def __init__(self):
            self.lost = asyncio.get_running_loop().create_future()
        def connection_lost(self, exc):
            self.lost.set_result(exc and exc.errno)

    async def connect(kind, ours):
        loop = asyncio.get_running_loop()
        if kind == "datagrams":
            return await loop.create_datagram_endpoint(Protocol, sock=ours)
        return await loop.create_connection(Protocol, sock=ours)

    async def main(kind):
        for number in range(1, 20):
            sort = socket.SOCK_DGRAM if kind == "datagrams" else socket.SOCK_STREAM
            ours, theirs = socket.socketpair(type=sort)
            raised = None
            calls.arm(number, 1)  # ENOSPC, where the call has a second way to fail
            try:
                transport, protocol = await connect(kind, ours)
            except OSError as exc:
                raised = exc.errno
            calls.disarm()
            if raised is None:
                transport.abort()
                await protocol.lost
            name, fault = calls.fired()
            if name == "epoll_ctl(ADD)":
                print(json.dumps([fault, raised, ours.fileno()]))
            theirs.close()
            ours.close()

    edgeloop.run(main(sys.argv[1]))
    """
)


@needs_gcc
@pytest.mark.fair_weather
@pytest.mark.edgeloop_only  # asyncio reports it, and returns a transport that never reads
@pytest.mark.parametrize("kind", ["stream", "datagrams"])
def test_whoever_connects_gets_the_error_of_epoll(kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, kind], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    refused = [json.loads(line) for line in done.stdout.splitlines()]
    assert refused
    for fault, raised, fd in refused:
        assert fault in (errno.ENOMEM, errno.ENOSPC)
        assert raised == fault
        assert fd == -1  # the transport owns the socket, and has closed it


FORKED = textwrap.dedent(
    """
    import os, socket, sys
    from failing_calls import FailingCalls
    import edgeloop

    calls = FailingCalls()
    loop = edgeloop.new_event_loop()
    low = socket.socketpair()
    loop.add_reader(low[0], print)
    free = os.open(os.devnull, os.O_RDONLY)
    closed = socket.socket()
    number = closed.fileno()
    loop.add_reader(number, print)
    os.close(free)
    closed.close()  # the set of a child takes these two numbers

    def run():
        loop.call_soon(loop.stop)
        loop.run_forever()

    for nth in range(1, 20):
        child = os.fork()
        if not child:
            calls.arm(nth, 0)
            try:
                run()
            except OSError:
                calls.disarm()
                if calls.fired()[0] == "epoll_ctl(ADD)":
                    run()
                    print(loop.remove_reader(number), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """
)


@needs_gcc
@pytest.mark.fair_weather
@pytest.mark.edgeloop_only  # asyncio's child shares the set of its parent
def test_a_forked_child_that_gets_its_set_at_the_second_try_has_no_reader_of_a_closed_socket() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"False"}, done.stdout
    assert len(done.stdout.split()) > 1  # of its eventfd, and of a channel
