"""The campaign itself: it finds what is broken, and the library fails the calls that it says it fails."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from kernel_truth import needs_gcc
from weather_runs import campaign, environment

pytestmark = [pytest.mark.fair_weather, needs_gcc]

FINDS = {
    "broken_leaks": "descriptors leaked",
    "broken_dies": "status -6",
    "broken_hangs": "hangs",
    "broken_refuses": "should not notice raised ConnectionError",
    "broken_raises": "raised AttributeError",
    "broken_reports": "reported: Exception in callback",
    "broken_is_lost_twice": "data_received after connection_lost",
    "broken_is_never_lost": "connection_lost does not come",
    "broken_swallows": "unraisable: ValueError",
    "broken_leaves_a_loop": "unclosed event loop",
}


@pytest.mark.parametrize("scenario", FINDS)
def test_the_campaign_finds_what_is_broken(scenario: str) -> None:
    limit = "2" if scenario == "broken_hangs" else "20"
    runs, _ = campaign("asyncio", "--limit", limit, "--every", "1000", scenario)
    assert FINDS[scenario] in " ".join(runs[0]["wrong"]), runs[0]


def test_the_campaign_finds_a_busy_loop() -> None:
    runs, _ = campaign("asyncio", "broken_circles", "4")
    assert not runs[0]["wrong"]
    assert "a busy loop" in " ".join(runs[1]["wrong"]), runs[1]


def test_the_campaign_fails_the_calls_of_an_echo(loop_factory: object) -> None:
    name = "edgeloop" if "edgeloop" in repr(loop_factory) else "asyncio"
    _, summary = campaign(name, "--every", "1000", "tcp_echo")
    wanted = {
        "accept4",
        "connect",
        "socket",
        "bind",
        "listen",
        "setsockopt",
        "epoll_create1",
        "epoll_ctl(ADD)",
        "close",
    }
    assert wanted <= set(summary["kinds"])
    assert {"recv", "read"} & set(summary["kinds"])
    assert {"send", "write"} & set(summary["kinds"])


def within(script: str) -> None:
    """Run a script with the library preloaded."""
    prelude = "import errno, os, socket, select, threading, time\nfrom failing_calls import *\ncalls = FailingCalls()\n"
    subprocess.run([sys.executable, "-c", prelude + textwrap.dedent(script)], env=environment(), check=True)


def test_the_call_of_that_number_fails_and_no_other() -> None:
    within("""
        calls.arm(2, 1)
        first = os.pipe()
        try:
            os.pipe()
        except OSError as exc:
            assert exc.errno == errno.ENFILE
        else:
            raise AssertionError("it did not fail")
        third = os.pipe()
        assert calls.fired() == ("pipe2", errno.ENFILE)
        assert calls.disarm() == 3
        assert [calls.call(number) for number in (1, 2, 3)] == ["pipe2"] * 3
        assert calls.variants(1) == 2
        os.pipe()
        assert calls.count() == 3
    """)


def test_only_the_thread_that_armed_it_is_counted() -> None:
    within("""
        import subprocess
        subprocess.run(["true"])
        calls.arm()
        thread = threading.Thread(target=os.pipe)
        thread.start()
        thread.join()
        with calls.calm():
            os.pipe()
        assert calls.count() == 0
        subprocess.run(["true"])
        assert "vfork" in [calls.call(number) for number in range(1, calls.count() + 1)]
        assert calls.count() < 20
    """)


def test_a_read_that_would_block_is_told_again() -> None:
    """As from the kernel: what was not there yet comes with an edge."""
    within("""
        one, other = socket.socketpair()
        one.setblocking(False)
        poll = select.epoll()
        poll.register(one, select.EPOLLIN | select.EPOLLET)
        other.send(b"abcd")
        assert poll.poll(1) and not poll.poll(0)
        calls.arm(1, 0)
        try:
            one.recv(10)
        except BlockingIOError:
            pass
        else:
            raise AssertionError("it did not fail")
        assert calls.fired() == ("recv", errno.EAGAIN)
        assert poll.poll(1) and not poll.poll(0)
        calls.arm(1, 2)
        assert one.recv(10) == b"ab" and calls.fired() == ("recv", SHORT)
        assert poll.poll(1) and one.recv(10) == b"cd"
    """)


def test_a_blocking_descriptor_never_would_block() -> None:
    within("""
        reading, writing = os.pipe()
        os.write(writing, b"a")
        calls.arm(1, 0)
        assert os.read(reading, 1) == b"a"
        assert calls.fired() == ("", 0) and calls.was_implausible()
    """)


def test_a_plan_at_random_is_the_same_for_the_same_seed() -> None:
    within("""
        def failures(seed):
            one, other = socket.socketpair()
            one.setblocking(False)
            other.setblocking(False)
            calls.arm_at_random(seed, 300)
            answers = []
            for _ in range(60):
                try:
                    answers.append(one.send(b"abcd"))
                except BlockingIOError:
                    answers.append(-1)
            assert calls.disarm() >= 60  # Python repeats what was interrupted
            assert 5 < calls.failed_at_random() < 50
            return answers

        assert failures(7) == failures(7) != failures(8)
        assert {2, 4, -1} == set(failures(7))
    """)
