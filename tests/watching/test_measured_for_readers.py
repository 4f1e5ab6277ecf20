"""A reader of a loop's file has it measure delays and lengths: no switch of the program is needed for top."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest
from recording import until

import edgeloop
from edgeloop.watching.rows import Sampler
from edgeloop.watching.shared_file import SharedLoop, loops

pytestmark = pytest.mark.edgeloop_only


@pytest.fixture
def shared(loop: asyncio.AbstractEventLoop) -> Iterator[SharedLoop]:
    path = edgeloop.share(loop)
    yield next(found for found in loops(os.getpid()) if found.path == path)
    edgeloop.unshare(loop)


def measures() -> bool:
    return edgeloop.stats(asyncio.get_running_loop()).measuring


async def test_a_loop_measures_for_as_long_as_a_reader_wants_it(shared: SharedLoop) -> None:
    assert not measures()
    shared.measure(3600)
    await until(measures)
    await asyncio.sleep(0)
    assert shared.read().callback.count > 0
    shared.measure(0)
    await until(lambda: not measures())


async def test_a_loop_that_is_never_idle_does_so_too(shared: SharedLoop) -> None:
    shared.measure(3600)
    while not measures():
        await asyncio.sleep(0)


async def test_what_the_program_measures_goes_on_when_the_reader_has_left(shared: SharedLoop) -> None:
    shared.measure(3600)
    await until(measures)
    with edgeloop.measure(asyncio.get_running_loop()):
        shared.measure(0)
        await asyncio.sleep(0.6)  # twice the time after which it looks
        assert measures()
    assert not measures()


async def test_a_loop_that_is_no_longer_shared_measures_no_more(shared: SharedLoop) -> None:
    shared.measure(3600)
    await until(measures)
    edgeloop.unshare(asyncio.get_running_loop())
    assert not measures()


async def test_a_forked_child_measures_no_more(shared: SharedLoop) -> None:
    shared.measure(3600)
    await until(measures)
    loop = asyncio.get_running_loop()
    child = os.fork()
    if not child:
        try:
            os._exit(3 if edgeloop.stats(loop).measuring else 0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert measures()


async def test_top_shows_delays_of_a_loop_that_nobody_measures(shared: SharedLoop) -> None:
    sampler = Sampler(os.getpid())

    def has_delays() -> bool:
        (row,) = [row for row in sampler.rows() if row.shared == shared]
        return row.values()["delay_p99"] is not None and row.values()["longest"] is not None

    assert not has_delays()
    await until(has_delays)


async def test_a_process_that_has_ended_can_measure_nothing(shared: SharedLoop) -> None:
    edgeloop.unshare(asyncio.get_running_loop())
    with pytest.raises(FileNotFoundError):
        shared.measure()
