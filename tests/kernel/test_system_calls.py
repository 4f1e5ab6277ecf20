"""System calls of small programs, counted by strace: fewer is the point of this project.

Each program is run for two lengths; the difference is what the steady state costs, whatever start and end take.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from kernel_truth import measured, needs_strace, system_calls, traced_lines

from benchmarks import scenarios

pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather, needs_strace]

#: The scenario of an echo with another answer.
ECHO = """
    import sys
    sys.path.insert(0, {folder!r})

    import edgeloop
    from benchmarks import scenarios

    class Server(scenarios.Server):
        def data_received(self, data):
            {answer}

    edgeloop.run(scenarios.echo(int(sys.argv[1]), Server))
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


def answered(answer: str, directory: Path) -> Counter[str]:
    """What 200 round trips take, of two messages each."""
    return steady(ECHO.format(folder=str(Path(scenarios.__file__).parents[1]), answer=answer), directory)


def test_writelines_costs_one_send(tmp_path: Path) -> None:
    """Rule 5."""
    calls = answered("self.transport.writelines([b'head', data, b'tail'])", tmp_path)
    assert reads_and_writes(calls) == (400, 400)
    assert calls["epoll_ctl"] == 0


def test_pausing_costs_nothing(tmp_path: Path) -> None:
    """Rules 1 and 7: pause_reading and resume_reading are flags."""
    answer = "self.transport.pause_reading(); self.transport.resume_reading(); self.transport.write(data)"
    calls = answered(answer, tmp_path)
    assert reads_and_writes(calls)[1] == 400
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
    script = Path(scenarios.__file__).read_text()
    calls = system_calls(script, "yields", "300", directory=tmp_path)
    calls.subtract(system_calls(script, "yields", "100", directory=tmp_path))
    assert 0 < calls["epoll_wait"] + calls["epoll_pwait"] <= 200
    assert calls["epoll_ctl"] == 0


@measured
def test_short_sleeps_are_in_nanoseconds(tmp_path: Path) -> None:
    """Rule 12: epoll_pwait2 in the compiled edition; the pure one rounds up to milliseconds."""
    import edgeloop

    script = """
        import asyncio
        import edgeloop

        async def main():
            # A program held up between setting the timer and waiting finds it due and doesn't wait: thirty, so that ten do.
            for _ in range(30):
                await asyncio.sleep(200e-6)

        edgeloop.run(main())
    """
    if edgeloop.EDITION == "compiled":
        assert len([line for line in traced_lines(script, "epoll_pwait2", tmp_path) if "tv_nsec" in line]) >= 10
    else:
        timeouts = [line.rsplit(",", 1)[1].split(")")[0] for line in traced_lines(script, "epoll_wait", tmp_path)]
        assert timeouts.count(" 1") >= 10


@measured
@pytest.mark.parametrize("slack, nap", [(50_000, 200e-6), (1_000, 200e-6), (50_000, 0.1), (50_000, 30e-6)])
def test_sleeps_leave_room_for_the_slack(slack: int, nap: float, tmp_path: Path) -> None:
    """Rule 12: what the kernel may add to a sleep is taken off before, so that the timer is hardly late. Slack in ns."""
    import edgeloop

    if edgeloop.EDITION == "pure":
        pytest.skip("Python has no epoll_pwait2: the pure edition sleeps for milliseconds")
    script = f"""
        import asyncio, ctypes
        import edgeloop

        PR_SET_TIMERSLACK = 29
        assert ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, {slack}) == 0

        async def main():
            # A program held up between setting the timer and waiting finds a short one due and doesn't wait: more than one.
            for _ in range({1 if nap > 0.01 else 50}):
                await asyncio.sleep({nap})

        edgeloop.run(main())
    """
    waits = traced_lines(script, "epoll_pwait2", tmp_path)
    asked = [int(s) * 10**9 + int(ns) for s, ns in re.findall(r"tv_sec=(\d+), tv_nsec=(\d+)", "\n".join(waits))]
    longest = max(asked)
    most = max(slack, longest // 1000)
    assert longest <= nap * 1e9 - (most if nap * 1e9 > slack else 0)
    assert longest > 0
