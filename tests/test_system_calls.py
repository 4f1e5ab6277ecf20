"""System calls per request, counted by strace: fewer is the point of this project.

Each program is run for two lengths; the difference is what the steady state costs, whatever start and end take.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from kernel_truth import needs_strace, system_calls, traced_lines

pytestmark = [pytest.mark.edgeloop_only, needs_strace]

ECHO = """
    import asyncio, socket, sys
    import edgeloop

    class Server(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            {answer}

    async def main(count):
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        done = loop.create_future()

        class Client(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport, self.left = transport, count
                transport.write(b"ping")
            def data_received(self, data):
                self.left -= 1
                if self.left:
                    self.transport.write(b"ping")
                else:
                    done.set_result(None)

        server, _ = await loop.connect_accepted_socket(Server, ours)
        client, _ = await loop.create_connection(Client, sock=theirs)
        await done
        server.close()
        client.close()
        await asyncio.sleep(0.01)

    edgeloop.run(main(int(sys.argv[1])))
"""


def steady(script: str, directory: Path, rounds: int = 200) -> Counter[str]:
    """What ``rounds`` more rounds add."""
    few = system_calls(script, "100", directory=directory)
    many = system_calls(script, str(100 + rounds), directory=directory)
    many.subtract(few)
    return many


def reads_and_writes(calls: Counter[str]) -> tuple[int, int]:
    read = sum(calls[name] for name in ("read", "readv", "recvfrom", "recvmsg"))
    written = sum(calls[name] for name in ("write", "writev", "sendto", "sendmsg"))
    return read, written


@pytest.mark.parametrize(
    "answer",
    [
        "self.transport.write(data)",
        "self.transport.write(b'head'); self.transport.write(data)",  # rule 5
        "self.transport.writelines([b'head', data, b'tail'])",
    ],
    ids=["one write", "header and body", "writelines"],
)
def test_echo_costs_one_recv_and_one_send(tmp_path: Path, answer: str) -> None:
    calls = steady(ECHO.replace("{answer}", answer), tmp_path)
    # A round is a request and its answer: two messages, each read once and written once.
    assert reads_and_writes(calls) == (400, 400)
    assert calls["epoll_ctl"] == 0
    waits = sum(calls[name] for name in ("epoll_wait", "epoll_pwait", "epoll_pwait2"))
    assert waits <= 400
    assert sum(calls.values()) - sum(reads_and_writes(calls)) - waits <= 20  # memory now and then


def test_pausing_costs_nothing(tmp_path: Path) -> None:
    """Rules 1 and 7: pause_reading and resume_reading are flags."""
    answer = "self.transport.pause_reading(); self.transport.resume_reading(); self.transport.write(data)"
    calls = steady(ECHO.replace("{answer}", answer), tmp_path)
    assert reads_and_writes(calls)[1] == 400
    assert calls["epoll_ctl"] == 0


def test_streams_cost_one_recv_and_one_send(tmp_path: Path) -> None:
    script = """
        import asyncio, sys
        import edgeloop

        async def serve(reader, writer):
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
            writer.close()

        async def main(count):
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(count):
                writer.write(b"ping\\n")
                await reader.readline()
            writer.close()
            await asyncio.sleep(0.01)
            server.close()

        edgeloop.run(main(int(sys.argv[1])))
    """
    calls = steady(script, tmp_path)
    assert reads_and_writes(calls) == (400, 400)
    assert calls["epoll_ctl"] == 0


def test_wake_ups_are_not_read(tmp_path: Path) -> None:
    """Each write to an eventfd is an edge of its own."""
    script = """
        import asyncio, sys, threading
        import edgeloop

        async def main(count):
            loop = asyncio.get_running_loop()
            for _ in range(count):
                woken = loop.create_future()
                thread = threading.Thread(target=loop.call_soon_threadsafe, args=(woken.set_result, None))
                thread.start()
                await woken
                thread.join()

        edgeloop.run(main(int(sys.argv[1])))
    """
    calls = steady(script, tmp_path, rounds=50)
    assert reads_and_writes(calls)[0] == 0


def test_callbacks_cost_one_wait_each_turn(tmp_path: Path) -> None:
    script = """
        import asyncio, sys
        import edgeloop

        async def main(count):
            for _ in range(count):
                await asyncio.sleep(0)

        edgeloop.run(main(int(sys.argv[1])))
    """
    calls = steady(script, tmp_path)
    assert 0 < calls["epoll_wait"] + calls["epoll_pwait"] <= 200
    assert calls["epoll_ctl"] == 0


def test_short_sleeps_are_in_nanoseconds(tmp_path: Path) -> None:
    """Rule 12: epoll_pwait2 in the compiled edition; the pure one rounds up to milliseconds."""
    import edgeloop

    script = """
        import asyncio
        import edgeloop

        async def main():
            for _ in range(10):
                await asyncio.sleep(200e-6)

        edgeloop.run(main())
    """
    if edgeloop.EDITION == "compiled":
        assert len([line for line in traced_lines(script, "epoll_pwait2", tmp_path) if "tv_nsec" in line]) >= 10
    else:
        timeouts = [line.rsplit(",", 1)[1].split(")")[0] for line in traced_lines(script, "epoll_wait", tmp_path)]
        assert timeouts.count(" 1") >= 10
