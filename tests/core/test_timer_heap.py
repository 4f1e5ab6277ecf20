"""The heap of timers, in the edition under test, against a sorted list."""

from __future__ import annotations

import gc
import random
import weakref

import pytest

from edgeloop.core.timer_heap import TimerHeap

pytestmark = pytest.mark.edgeloop_only


class Timer:
    """What the heap knows of a timer."""

    def __init__(self, when: float, number: int) -> None:
        self.order = (when, number)
        self._cancelled = False


def drained(heap: TimerHeap) -> list[tuple[float, int]]:
    found = []
    while heap.size:
        when, timer = heap.first_when(), heap.first()
        assert heap.pop() is timer
        assert timer.order[0] == when
        found.append(timer.order)
    return found


@pytest.mark.parametrize("size", [0, 1, 2, 3, 10, 63, 64, 65, 129, 1000])
@pytest.mark.parametrize("moments", [1, 3, 10_000])
def test_order(size: int, moments: int) -> None:
    """By time, and at the same time first come, first served."""
    dice = random.Random(size)
    heap = TimerHeap()
    timers = [Timer(float(dice.randrange(moments)), number) for number in range(size)]
    for timer in timers:
        heap.push(timer.order[0], timer)
    assert heap.size == size
    assert sorted(timer.order for timer in heap.timers()) == sorted(timer.order for timer in timers)
    assert drained(heap) == sorted(timer.order for timer in timers)


def test_pushes_and_pops_in_any_order() -> None:
    dice = random.Random(1)
    heap = TimerHeap()
    reference: list[tuple[float, int]] = []
    for number in range(20_000):
        if dice.random() < 0.55 or not reference:
            when = float(dice.randrange(50))
            heap.push(when, Timer(when, number))
            reference.append((when, number))
        else:
            reference.sort()
            assert heap.pop().order == reference.pop(0)
    assert drained(heap) == sorted(reference)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_purge(share: float) -> None:
    dice = random.Random(2)
    heap = TimerHeap()
    timers = [Timer(float(dice.randrange(20)), number) for number in range(500)]
    for timer in timers:
        heap.push(timer.order[0], timer)
        timer._cancelled = dice.random() < share
    cancelled = [timer for timer in timers if timer._cancelled]
    assert sorted(timer.order for timer in heap.purge()) == sorted(timer.order for timer in cancelled)
    late = Timer(5.0, 1000)
    heap.push(5.0, late)
    assert drained(heap) == sorted(timer.order for timer in [*timers, late] if not timer._cancelled)


def test_an_empty_heap_has_nothing_to_pop() -> None:
    heap = TimerHeap()
    with pytest.raises(IndexError):
        heap.pop()
    heap.push(1.0, Timer(1.0, 0))
    heap.clear()
    assert heap.size == 0
    with pytest.raises(IndexError):
        heap.first()
    with pytest.raises(IndexError):
        heap.pop()


@pytest.mark.counts_references
def test_timers_are_let_go() -> None:
    """Popped, purged, dropped with the heap, and in a cycle with it."""
    heap = TimerHeap()
    timers = [Timer(1.0, number) for number in range(4)]
    seen = [weakref.ref(timer) for timer in timers]
    for timer in timers:
        heap.push(1.0, timer)
    timers[1]._cancelled = True
    timers[3].heap = heap  # type: ignore[attr-defined]
    del timer, timers
    heap.pop()
    assert seen[0]() is None
    heap.purge()
    assert seen[1]() is None
    heap.pop()
    assert seen[2]() is None
    del heap
    gc.collect()
    assert seen[3]() is None


def test_what_is_popped_into_a_list_is_the_first() -> None:
    heap = TimerHeap()
    timers = [Timer(when, number) for number, when in enumerate((3.0, 1.0, 2.0))]
    for timer in timers:
        heap.push(timer.order[0], timer)
    items: list[object] = ["before"]
    assert heap.pop_into(items) is timers[1]
    assert items == ["before", timers[1]]
    assert drained(heap) == [(2.0, 2), (3.0, 0)]
    with pytest.raises(IndexError):
        heap.pop_into(items)
    assert items == ["before", timers[1]]
