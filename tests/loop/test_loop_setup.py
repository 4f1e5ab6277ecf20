"""Making a loop and starting its run, when one of their steps fails: what was done is undone, and later it works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edgeloop import stdlib

Factory = Callable[[], asyncio.AbstractEventLoop]


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """No more than so many descriptors can be opened meanwhile."""
    held = [os.dup(0)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[0]), limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        for _ in range(count):
            os.close(held.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in held:
            os.close(fd)


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


def test_a_loop_that_could_be_made_runs_without_another_descriptor(loop_factory: Factory) -> None:
    loop = loop_factory()
    try:
        with descriptors_left(0):
            assert loop.run_until_complete(answer()) == 42
        assert loop.run_until_complete(answer()) == 42
        assert not loop.is_running()
    finally:
        loop.close()
    assert asyncio.run(answer()) == 42


def test_a_loop_for_which_there_are_no_descriptors_leaves_none_open(loop_factory: Factory) -> None:
    """Whichever of them is the one too many; the fixture looks for what was left open."""
    refused = 0
    for left in range(12):
        with descriptors_left(left):
            try:
                loop = loop_factory()
            except OSError:
                refused += 1
                continue
        assert loop.run_until_complete(answer()) == 42
        loop.close()
    assert 0 < refused < 12


def test_a_loop_made_in_another_thread_says_so_when_the_main_thread_has_no_descriptor(loop_factory: Factory) -> None:
    """It needs one more to hear of signals, which only the main thread does."""
    made: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: made.append(loop_factory()))
    thread.start()
    thread.join()
    (loop,) = made
    try:
        with descriptors_left(1), contextlib.suppress(OSError):
            loop.run_until_complete(answer())
        assert not loop.is_running()
        assert asyncio._get_running_loop() is None
        assert loop.run_until_complete(answer()) == 42
    finally:
        loop.close()


class Refused(BaseException):
    """What a step of the setup raises."""


def refuse(*args: object, **kwargs: object) -> Any:
    raise Refused


STEPS = (
    (sys, "get_asyncgen_hooks"),
    (sys, "set_asyncgen_hooks"),
    (sys, "get_coroutine_origin_tracking_depth"),
    (sys, "set_coroutine_origin_tracking_depth"),
    (signal, "set_wakeup_fd"),
    (threading, "get_ident"),
    (threading, "main_thread"),
    (stdlib, "set_running_loop"),
    (stdlib, "get_running_loop"),
)


@pytest.mark.edgeloop_only  # asyncio's steps are others
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(("where", "name"), STEPS, ids=[name for _, name in STEPS])
def test_a_run_whose_setup_fails_leaves_the_loop_and_the_thread_as_they_were(
    loop_factory: Factory, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, debug: bool
) -> None:
    loop = loop_factory()
    loop.set_debug(debug)
    hooks = sys.get_asyncgen_hooks()
    depth = sys.get_coroutine_origin_tracking_depth()
    original = getattr(where, name)
    failures = 0

    def fail_once(*args: Any, **kwargs: Any) -> Any:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise Refused
        return original(*args, **kwargs)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, fail_once)
            loop.call_soon(loop.stop)
            if not debug and "coroutine_origin" in name:
                loop.run_forever()
            else:
                with pytest.raises(Refused):
                    loop.run_forever()
        assert not loop.is_running()
        assert asyncio._get_running_loop() is None
        assert sys.get_asyncgen_hooks() == hooks
        assert sys.get_coroutine_origin_tracking_depth() == depth
        assert signal.set_wakeup_fd(-1) == -1
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert loop.run_until_complete(answer()) == 42
    finally:
        loop.close()
    assert asyncio.run(answer()) == 42


@pytest.mark.edgeloop_only  # the standard loop's signal pipe is made with the loop in each thread
def test_a_pipe_for_signals_that_cant_be_made_leaves_nothing_behind(
    loop_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe2", refuse)
        with pytest.raises(Refused):
            loop_factory()
    with monkeypatch.context() as patch:
        patch.setattr("edgeloop.loop.signals.Watch", refuse)
        with pytest.raises(Refused):
            loop_factory()
