"""Ctrl-C, in a child process: while the main task sleeps, waits and works, and in the middle of a callback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

RUNNERS = {
    "asyncio.run": "import asyncio\nrun = asyncio.run\n",
    "Runner": (
        "import asyncio, {module}\n"
        "def run(main):\n"
        "    with asyncio.Runner(loop_factory={module}.{name}) as runner:\n"
        "        return runner.run(main)\n"
    ),
    "edgeloop.run": "import asyncio, edgeloop\nrun = edgeloop.run\n",
}
INTERRUPTED = """
async def main():
    try:
        print("ready", flush=True)
        {body}
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        await asyncio.sleep(0.01)
        raise
    finally:
        print("cleaned up", flush=True)
try:
    run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def interrupted(program: str) -> tuple[str, int]:
    """What a Python program that says "ready" prints after a SIGINT, and its exit status."""
    environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "ready\n"
            child.send_signal(signal.SIGINT)
            output, _ = child.communicate(timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
    return output, child.returncode


@pytest.mark.parametrize(
    "runner",
    ["asyncio.run", "Runner", pytest.param("edgeloop.run", marks=pytest.mark.edgeloop_only)],
)
@pytest.mark.parametrize(
    "body",
    ["await asyncio.sleep(60)", "\n        while True: await asyncio.sleep(0)", "await asyncio.Event().wait()"],
    ids=["sleeping", "busy", "waiting"],
)
def test_ctrl_c(loop_factory: Callable[[], asyncio.AbstractEventLoop], runner: str, body: str) -> None:
    """SIGINT cancels the main task; its clean-up runs; KeyboardInterrupt comes out of run."""
    start = RUNNERS[runner].format(module=loop_factory.__module__, name=loop_factory.__qualname__)
    output, status = interrupted(start + INTERRUPTED.format(body=body))
    assert output.split("\n") == ["cancelled", "cleaned up", "interrupted", ""]
    assert status == 0


def test_ctrl_c_in_a_busy_callback(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """No await in sight: the interrupt comes out of the callback itself, and run_forever can be called again."""
    program = (
        f"import {loop_factory.__module__} as module\n"
        f"loop = module.{loop_factory.__qualname__}()\n"
        "def spin():\n"
        "    print('ready', flush=True)\n"
        "    while True: pass\n"
        "loop.call_soon(spin)\n"
        "loop.call_later(0, print, 'kept')\n"
        "try:\n    loop.run_forever()\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
        "loop.call_later(0.01, loop.stop)\n"
        "loop.run_forever()\n"
        "loop.close()\n"
    )
    output, _ = interrupted(program)
    assert output == "interrupted\nkept\n"
