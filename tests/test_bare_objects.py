"""Objects of the compiled modules that were made without their initialiser raise; compiled, they must not crash.

uvloop #706, #538, #760: crashes where a type error was due.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.edgeloop_only

CALLS = (
    "edgeloop.EventLoop.__new__(edgeloop.EventLoop)._run_once()",
    "bare(edgeloop.core.reactor.Reactor).wait(0)",
    "bare(edgeloop.core.reactor.Reactor).dispatch()",
    "bare(edgeloop.core.reactor.Reactor).close()",
    "bare(edgeloop.core.schedule.Scheduler).call_soon(print)",
    "bare(edgeloop.core.schedule.Scheduler).call_later(1, print)",
    "bare(edgeloop.core.handles.Handle)._run()",
    "bare(edgeloop.core.handles.Handle).cancel()",
    "bare(edgeloop.core.handles.TimerHandle).cancel()",
    "bare(edgeloop.loop.watch.Watch).set_reader(print, ())",
    "edgeloop.loop.watch.Watch(None, 0).set_reader(print, ())",
    "bare(edgeloop.serving.listener.Listener).stop()",
    "bare(stream.StreamTransport).begin()",
    "bare(stream.StreamTransport).write(b'x')",
    "bare(stream.StreamTransport).resume_reading()",
    "bare(stream.StreamTransport).abort()",
    "bare(datagram.DatagramTransport).sendto(b'x')",
    "bare(tls.TLSProtocol).data_received(b'x')",
)


@pytest.mark.parametrize("call", CALLS)
def test_an_uninitialised_object_raises(call: str) -> None:
    script = (
        "import edgeloop, edgeloop.loop.watch\n"
        "from edgeloop.transports import datagram, stream\n"
        "from edgeloop.transports.tls import protocol as tls\n"
        "def bare(kind): return kind.__new__(kind)\n"
        f"try:\n    {call}\n"
        "except (AttributeError, TypeError, RuntimeError, ValueError, OSError):\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
