"""figures.pxd has the numbers of layout.py, in their order."""

from __future__ import annotations

import re

import pytest
from repository import ROOT

from edgeloop.watching import layout

pytestmark = pytest.mark.edgeloop_only

HEADER = (ROOT / "edgeloop/watching/figures.pxd").read_text()


def test_the_fields_in_c_are_those_of_the_table() -> None:
    body = HEADER.split("cdef struct Counts:\n")[1].split("\n\n")[0]
    found: list[tuple[str, bool]] = []
    for kind, name in re.findall(r"^    (long long|double|char|Histogram) (\w+)", body, re.MULTILINE):
        if kind == "Histogram":
            found += [(f"{name}_sum", False), (f"{name}_max", False)]
        found.append((name, kind == "double"))
    assert found == [(name, is_double) for name, _, is_double in layout.FIELDS]


@pytest.mark.parametrize(
    ("name", "number"), [("KINDS", len(layout.KINDS)), ("BUCKETS", layout.BUCKETS), ("TEXT_SIZE", layout.TEXT_SIZE)]
)
def test_the_sizes_of_arrays_in_c_are_those_of_the_table(name: str, number: int) -> None:
    assert re.search(rf"^    {name} = {number}$", HEADER, re.MULTILINE)
