"""The modules of the kernel package and the transports, called with what they were not made for: they raise; compiled, they
must not crash.

In a process of its own, which would not come back from a crash. uvloop #706, #538, #760 were of this kind.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.edgeloop_only

SETTING = """
    import array, itertools, os, socket
    from edgeloop.kernel import datagrams, epoll, pipes, segments
    from edgeloop.transports import base, datagram, flow, pipe

    class Odd:
        def __len__(self): return 3
        def __iter__(self): raise ZeroDivisionError
        def __getitem__(self, key): raise ZeroDivisionError
        def fileno(self): return "seven"
        def __eq__(self, other): raise ZeroDivisionError

    class Buffer(bytearray): pass

    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.setblocking(False)
    read, write = os.pipe2(os.O_NONBLOCK)
    VALUES = [
        None, -1, 0, 10 ** 30, 1.5, "text", b"", b"data", bytearray(b"d"), memoryview(b"abc")[::2],
        memoryview(array.array("I", [1, 2])), Buffer(b"x"), [], [None], [b"x"], [b"x", None], [1, 2], [(b"x",)],
        [(None, None)], [("x", ("127.0.0.1", 9))], [(b"x", ("127.0.0.1", 9)), None, 5], [[b"x", None]] * 3,
        [(b"x", "nobody")] * 3, [(b"x", ("127.0.0.1", "http"))] * 2, [(b"x", (None, None))] * 2, [()] * 70,
        [(b"x", b"y" * 200)] * 2, (), (1, 2), ("127.0.0.1", 9), {}, Odd(), [Odd()], one, object,
    ]

    def call(function, *arguments):
        try:
            function(*arguments)
        except Exception:
            pass
"""

CALLS = {
    "pipes": """
        for value in VALUES:
            call(pipes.read, value, False)
            call(pipes.read, 10 ** 6, value)
            call(pipes.unread, value)
            for device in (False, True):
                call(pipes.write, write, device, value)
                call(pipes.write_many, write, device, value)
        call(pipes.write_many, write, False, [b"x", bytearray(b"y")] * 2000)
    """,
    "datagrams": """
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, 99):
            for value in VALUES:
                call(datagrams.recv_datagrams, one.fileno(), family, value)
                call(datagrams.recv_datagrams, -1, family, value)
                for address in VALUES:
                    call(datagrams.send_datagram, one.fileno(), family, one, value, address)
                    call(datagrams.send_datagram, one.fileno(), family, value, b"x", address)
                for first in (0, 1, -1, 10 ** 9):
                    call(datagrams.send_datagrams, one.fileno(), family, one, value, first)
                    call(datagrams.send_datagrams, one.fileno(), family, value, [(b"x", "y")] * 3, first)
                    call(segments.send_segments, one.fileno(), family, one, value, first)
                    call(segments.send_segments, one.fileno(), family, value, [(b"x", "y"), (b"x", None)] * 3, first)
                call(segments.recv_segments, one.fileno(), family, value)
                call(segments.recv_segments, -1, family, value)
                call(segments.can_segment, value)
                call(segments.coalesce, value)
    """,
    "epoll": """
        for value in VALUES:
            poller = epoll.Poller()
            for name in ("add", "modify", "refresh", "remove"):
                for arguments in ((), (value,), (value, value), (0, value), (value, 1)):
                    call(getattr(poller, name), *arguments)
            if type(value) not in (int, float):  # else it may sleep for so long
                call(poller.wait, value)
            poller.wake()
            poller.close()
            poller.close()
            for name in ("add", "modify", "refresh", "remove", "wait", "wake", "fileno"):
                call(getattr(poller, name), *(() if name in ("wake", "fileno") else (0,) if name == "wait" else (0, 1)))
    """,
    "transports": """
        KINDS = (datagram.DatagramTransport, base.BaseTransport, flow.WriteHalf, pipe.PipeFile, pipe.ReadPipeTransport,
                 pipe.WritePipeTransport)
        for kind in KINDS:
            names = [name for name in dir(kind) if not name.startswith("__")]
            for name in names:
                for arguments in itertools.chain([()], ((value,) for value in VALUES), ((b"x", value) for value in VALUES)):
                    bare = kind.__new__(kind)
                    call(lambda: getattr(bare, name)(*arguments))
            call(repr, kind.__new__(kind))
            for value in VALUES:
                call(kind, value, value, value, value)
                call(kind, None, one, value, value)
    """,
}


@pytest.mark.parametrize("module", CALLS)
def test_wrong_arguments_raise(module: str) -> None:
    script = textwrap.dedent(SETTING) + textwrap.dedent(CALLS[module])
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
