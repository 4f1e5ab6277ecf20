"""A child of a child, and a child that has less than its parent had (rule 11)."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Iterator

import pytest
from children import forked
from sockets import Pair

import edgeloop

Loop = asyncio.AbstractEventLoop


@pytest.fixture(autouse=True)
def threads_are_expected() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads
        yield


@pytest.mark.edgeloop_only  # asyncio lets the child use the set of its parent
@pytest.mark.parametrize("generations", [1, 2, 3])
def test_a_loop_that_ran_at_the_first_fork_is_of_no_use_in_any_generation(
    loop: Loop, pair: Pair, generations: int
) -> None:
    def child(generation: int) -> None:
        if generation:
            forked(lambda: child(generation - 1))
        else:
            with pytest.raises(RuntimeError, match="belongs to the process that this one was forked from"):
                loop.add_reader(pair[0], int)

    async def main() -> None:
        forked(lambda: child(generations - 1))

    loop.run_until_complete(main())


@pytest.mark.edgeloop_only  # asyncio's executor counts on threads that the child has not
def test_each_generation_has_its_own_threads_for_names(loop: Loop) -> None:
    def child(generation: int) -> None:
        assert loop.run_until_complete(loop.getaddrinfo("localhost", 80))
        if generation:
            forked(lambda: child(generation - 1))

    child(2)


@pytest.mark.edgeloop_only  # asyncio counts no turns
def test_a_child_sleeps_as_its_parent_does(loop: Loop) -> None:
    """It takes the loop over once, and not before each wait."""

    def child() -> None:
        before = edgeloop.stats(loop).turns
        loop.run_until_complete(asyncio.sleep(0.05))
        assert edgeloop.stats(loop).turns - before < 50

    loop.run_until_complete(asyncio.sleep(0))
    forked(child)


def test_a_child_may_have_far_more_open(loop: Loop) -> None:
    """So that the numbers of its own set are beyond all that the parent has watched."""

    def child() -> None:
        for _ in range(300):
            os.open(os.devnull, os.O_RDONLY)
        loop.run_until_complete(asyncio.sleep(0.001))

    loop.run_until_complete(asyncio.sleep(0))
    forked(child)
