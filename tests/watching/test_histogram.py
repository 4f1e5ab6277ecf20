"""Histograms on a logarithmic scale: what their buckets say, and that they add up."""

from __future__ import annotations

import random
import struct

import pytest

from edgeloop.watching import layout
from edgeloop.watching.histogram import Histogram

pytestmark = pytest.mark.edgeloop_only

VALUES = [0, 1, 63, 64, 65, 71, 72, 127, 128, 1000, 10**6, 2**40 - 1, 2**40, 2**62]


def of(*nanoseconds: int) -> Histogram:
    buckets = [0] * layout.BUCKETS
    for value in nanoseconds:
        buckets[layout.bucket(value)] += 1
    return Histogram.of(buckets, sum(nanoseconds), max(nanoseconds, default=0))


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_between_the_bounds_of_its_bucket(value: int) -> None:
    index = layout.bucket(value)
    assert layout.lower_bound(index) <= value < layout.upper_bound(index)


def test_buckets_follow_upon_each_other_without_a_gap() -> None:
    for index in range(layout.BUCKETS - 1):
        assert layout.upper_bound(index) == layout.lower_bound(index + 1)


def test_a_percentile_is_never_below_and_at_most_an_eighth_above() -> None:
    chosen = random.Random(21)
    values = sorted(chosen.randrange(64, 10 ** chosen.randrange(3, 10)) for _ in range(500))
    histogram = of(*values)
    for percent in (1, 50, 90, 99, 100):
        true = values[max(-(-len(values) * percent // 100), 1) - 1] * 1e-9
        assert true <= histogram.percentile(percent) * (1 + 1e-9) <= true * (1 + 1 / 7)


def test_an_empty_histogram_has_zeros() -> None:
    empty = Histogram()
    assert "count=0" in repr(empty) and len(repr(empty)) < 100  # not every bucket
    assert (empty.count, empty.mean, empty.min, empty.max, empty.percentile(99)) == (0, 0.0, 0.0, 0.0, 0.0)
    assert list(empty.filled()) == []


@pytest.mark.parametrize("percent", [-1, 100.1, float("nan")])
def test_a_percentile_that_there_is_not_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 100"):
        of(100).percentile(percent)


def test_two_add_up_to_what_one_would_have() -> None:
    assert of(100, 5000) + of(70, 10**9) == of(100, 5000, 70, 10**9)


def test_the_difference_has_what_came_later() -> None:
    earlier, later = of(100, 5000), of(100, 5000, 300, 10**9)
    assert (later - earlier).buckets == of(300, 10**9).buckets
    assert (later - earlier).max == 1.0
    assert (of(100, 5000, 300) - earlier).max == pytest.approx(
        320e-9
    )  # its bucket's end, for the largest is an old one
    assert (earlier - earlier).max == 0.0


def test_values_below_a_time_are_counted() -> None:
    assert of(100, 1000, 10**6).below(1e-4) == 2


def test_numbers_come_back_as_they_were_packed() -> None:
    numbers = list(range(layout.SIZE // 8))
    kinds = [is_double for _, count, is_double in layout.FIELDS for _ in range(count)]
    data = b"".join(struct.pack("=d" if kind else "=q", number) for kind, number in zip(kinds, numbers, strict=True))
    found = layout.unpack(data)
    assert found["turns"] == layout.PLACES["turns"]
    assert found["channels"] == tuple(range(layout.PLACES["channels"], layout.PLACES["channels"] + len(layout.KINDS)))
    with pytest.raises(struct.error):
        layout.unpack(data[:-8])


def test_the_least_value_and_the_buckets_that_have_some() -> None:
    found = of(100, 5000, 5001)
    assert 0 < found.min <= 100e-9
    assert of().min == 0.0
    buckets = list(found.filled())
    assert [number for _, _, number in buckets] == [1, 2]
    assert all(low < high for low, high, _ in buckets)
    assert buckets[0][0] == found.min


def test_histograms_add_up_with_histograms_alone() -> None:
    with pytest.raises(TypeError):
        of(1) + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        of(1) - 1  # type: ignore[operator]
    assert (of(1) + of(2)).count == 2
