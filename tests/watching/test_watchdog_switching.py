"""Beginning and ending a watch: arguments, the environment, the launcher, fork, the end of the loop and of the process."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import warnings
import weakref
from typing import Any

import pytest
from example_process import environment
from watched_loops import Reports

import edgeloop
from edgeloop.watching import shared_file

pytestmark = pytest.mark.edgeloop_only


def watching() -> list[threading.Thread]:
    """The threads of the watchdogs."""
    return [thread for thread in threading.enumerate() if thread.name == "edgeloop-watchdog"]


def none_is_left(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(60)
    return not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("threshold", [0, -1, float("nan"), float("inf"), 0.0])
def test_a_threshold_that_is_not_above_zero_is_refused(loop: asyncio.AbstractEventLoop, threshold: float) -> None:
    before = watching()
    with pytest.raises(ValueError, match="above 0"):
        edgeloop.watch(loop, threshold)
    assert set(watching()) <= set(before)


@pytest.mark.parametrize("threshold", [None, "0.1", True])
def test_a_threshold_that_is_no_number_is_refused(loop: asyncio.AbstractEventLoop, threshold: Any) -> None:
    with pytest.raises(TypeError, match="threshold"):
        edgeloop.watch(loop, threshold)


def test_a_receiver_that_cannot_be_called_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    report: Any = "a file"
    with pytest.raises(TypeError, match="callable"):
        edgeloop.watch(loop, report=report)


def test_a_watched_loop_is_found_by_other_processes_until_it_is_closed() -> None:
    loop = edgeloop.new_event_loop()
    before = {found.path for found in shared_file.loops(os.getpid())}
    try:
        with edgeloop.watch(loop):
            (found,) = [found for found in shared_file.loops(os.getpid()) if found.path not in before]
    finally:
        loop.close()
    assert not os.path.exists(found.path)


def test_a_loop_is_watched_where_no_file_can_be_made(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_file, "folders", lambda: ["/proc/nowhere"])
    with caplog.at_level(logging.DEBUG, "edgeloop.watch"), edgeloop.watch(loop):
        assert "not kept in a file" in caplog.text


def test_another_loop_is_refused() -> None:
    other = asyncio.SelectorEventLoop()
    try:
        with pytest.raises(TypeError, match="SelectorEventLoop"):
            edgeloop.watch(other)
    finally:
        other.close()


def test_a_closed_loop_is_refused() -> None:
    closed = edgeloop.new_event_loop()
    closed.close()
    with pytest.raises(RuntimeError, match="closed"):
        edgeloop.watch(closed)


def test_a_second_watch_takes_the_place_of_the_first(loop: asyncio.AbstractEventLoop) -> None:
    first, second = Reports(), Reports()
    lasts = threading.Event()
    second._end = lasts.set

    async def block() -> None:
        lasts.wait(60)

    former = edgeloop.watch(loop, 0.02, report=first)
    with edgeloop.watch(loop, 0.02, report=second):
        former.stop()  # which does nothing any more
        loop.run_until_complete(block())
        assert second.next().phase == "begun"
    assert first.seen.empty()


def test_a_loop_is_watched_again_after_a_stop(loop: asyncio.AbstractEventLoop) -> None:
    async def block(lasts: threading.Event) -> None:
        lasts.wait(60)

    for _ in range(3):
        lasts = threading.Event()
        reports = Reports(lasts.set)
        watchdog = edgeloop.watch(loop, 0.02, report=reports)
        loop.run_until_complete(block(lasts))
        assert reports.next().phase == "begun"
        watchdog.stop()
        watchdog.stop()


def test_the_thread_ends_with_the_loop() -> None:
    loop = edgeloop.new_event_loop()
    watchdog = edgeloop.watch(loop)
    threads = watching()
    loop.close()
    assert none_is_left(threads)
    watchdog.stop()


@pytest.mark.counts_references
def test_a_watchdog_keeps_no_loop_alive() -> None:
    loop = edgeloop.new_event_loop()
    watchdog = edgeloop.watch(loop)
    threads = watching()
    gone = weakref.ref(loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it was never closed
        del loop
        gc.collect()
    assert gone() is None
    assert none_is_left(threads)
    watchdog.stop()


def test_two_loops_have_a_watchdog_each(loop: asyncio.AbstractEventLoop) -> None:
    other = edgeloop.new_event_loop()
    lasts = threading.Event()
    ours, others = Reports(lasts.set), Reports()

    async def block() -> None:
        lasts.wait(60)

    with edgeloop.watch(loop, 0.02, report=ours), edgeloop.watch(other, 0.02, report=others):
        loop.run_until_complete(block())
        assert ours.next().phase == "begun"
    other.close()
    assert others.seen.empty()


@pytest.mark.follows_collections
def test_nothing_is_left_in_the_process_when_the_last_watch_has_ended(loop: asyncio.AbstractEventLoop) -> None:
    before = list(gc.callbacks)
    watchdog = edgeloop.watch(loop)
    threads = watching()
    assert len(gc.callbacks) == len(before) + 1
    watchdog.stop()
    assert gc.callbacks == before
    assert none_is_left(threads)


PROGRAM = """
import asyncio, logging, sys, threading

reported = threading.Event()

class Handler(logging.StreamHandler):
    def emit(self, record):
        super().emit(record)
        reported.set()

logging.basicConfig(format="%(name)s %(message)s", handlers=[Handler(sys.stdout)])

async def main():
    reported.wait(60)
    print("done")

asyncio.run(main())
"""


def run(config: pytest.Config, tmp_path: Any, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(config, tmp_path) | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("variables", "options"), [({"EDGELOOP_WATCH": "0.02"}, ()), ({}, ("--watch", "0.02")), ({}, ("--watch=0.02",))]
)
def test_every_loop_of_a_process_is_watched(
    request: pytest.FixtureRequest, tmp_path: Any, variables: dict[str, str], options: tuple[str, ...]
) -> None:
    done = run(request.config, tmp_path, "-m", "edgeloop", *options, "-c", PROGRAM, **variables)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("edgeloop.watch the event loop has been blocked for 0.")
    assert "done" in lines


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf"])
def test_a_bad_value_in_the_environment_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EDGELOOP_WATCH", value)
    with pytest.raises(ValueError, match=f"EDGELOOP_WATCH in the environment='{value}'"):
        edgeloop.new_event_loop()


def test_an_empty_value_in_the_environment_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_WATCH", " ")
    edgeloop.new_event_loop().close()


@pytest.mark.parametrize("options", [("--watch",), ("--watch", "soon", "-c", ""), ("--watch=0", "-c", "")])
def test_the_launcher_refuses_a_bad_threshold(
    request: pytest.FixtureRequest, tmp_path: Any, options: tuple[str, ...]
) -> None:
    done = run(request.config, tmp_path, "-m", "edgeloop", *options)
    assert done.returncode == 2
    assert "--watch" in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


FORKING = """
import asyncio, os, sys, edgeloop, threading

loop = edgeloop.new_event_loop()

def receive(report):
    lasts.set()

watchdog = edgeloop.watch(loop, 0.02, report=receive)

async def block():
    global lasts  # a new one: a thread of the parent may be in set() at the fork
    lasts = threading.Event()
    return lasts.wait(30)

assert loop.run_until_complete(block())
pid = os.fork()
if pid == 0:
    loop.run_until_complete(asyncio.sleep(0))  # a loop that did not run at the fork, unwatched here
    if [thread for thread in threading.enumerate() if "watchdog" in thread.name]:
        os._exit(2)
    watchdog.stop()
    watchdog = edgeloop.watch(loop, 0.02, report=receive)
    code = 0 if loop.run_until_complete(block()) else 3
    loop.close()
    os._exit(code)
assert loop.run_until_complete(block()), "the parent's watch goes on"
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
loop.close()
print("both")
"""


def test_a_forked_child_has_no_watchdog_until_it_makes_one(request: pytest.FixtureRequest, tmp_path: Any) -> None:
    done = run(request.config, tmp_path, "-W", "ignore", "-c", FORKING)
    assert (done.stdout, done.returncode) == ("both\n", 0), done.stderr


ENDINGS = {
    "while the loop is watched": "loop.run_until_complete(asyncio.sleep(0.05))",
    "in a block": "loop.run_until_complete(block())",
    "by sys.exit in a block": "loop.call_soon(block_and_exit); loop.run_forever()",
    "by os._exit in a block": "lasts.wait(0.1); os._exit(0)",
    "with a receiver that does not return": "watch(threading.Event().wait); loop.run_until_complete(block())",
    "without standard error": "os.close(2); sys.stderr.close(); watch(fail); loop.run_until_complete(block())",
    "with a daemon thread that runs the loop": "threading.Thread(target=loop.run_forever, daemon=True).start()",
}

ENDING = """
import asyncio, os, sys, threading, edgeloop
loop = edgeloop.new_event_loop()
lasts = threading.Event()

def watch(block=lambda: None):
    def receive(report):
        lasts.set()
        block()
    edgeloop.watch(loop, 0.02, report=receive)

def fail():
    raise ValueError  # which is logged

async def block():
    lasts.wait(60)

def block_and_exit():
    lasts.wait(60)
    sys.exit(0)

watch()
"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_ends(request: pytest.FixtureRequest, tmp_path: Any, ending: str) -> None:
    done = run(request.config, tmp_path, "-W", "ignore", "-c", ENDING + ENDINGS[ending])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 has no threads in isolated subinterpreters")
@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_a_subinterpreter_is_watched_or_says_that_it_is_not(
    request: pytest.FixtureRequest, tmp_path: Any, kind: str
) -> None:
    inside = (
        "import warnings\nwarnings.simplefilter('ignore')\nimport asyncio, edgeloop\n"
        "edgeloop.run(asyncio.sleep(0.05))\nprint('ran', flush=True)\n"
    )
    program = f"""
import os, sys
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    other = interpreters.create({kind!r})
else:
    import _xxsubinterpreters as interpreters
    other = interpreters.create(isolated={kind!r} == "isolated")
interpreters.run_string(other, {inside!r})
interpreters.destroy(other)
sys.stdout.flush()
if sys.version_info < (3, 13):
    os._exit(0)  # 3.12.1 frees memory twice at its end, where an isolated interpreter has imported asyncio
"""
    done = run(request.config, tmp_path, "-c", program, EDGELOOP_WATCH="0.02")
    assert done.returncode == 0, done.stderr
    assert "ran" in done.stdout
    assert "Traceback" not in done.stderr
