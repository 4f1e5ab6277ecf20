"""The simulated kernel does what Linux does. ``make simulate`` compares 100,000 sequences."""

from __future__ import annotations

import pytest
from kernel_agreement import compare


@pytest.mark.parametrize("first", range(1, 501, 100))
def test_both_kernels_do_the_same(first: int) -> None:
    compare(first, 100)
