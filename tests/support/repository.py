"""Where things are in the repository, for tests that start its programs and read its pages."""

from __future__ import annotations

import os
from pathlib import Path

#: The checkout; compat/ runs some of these tests from a copy.
ROOT = Path(os.environ.get("EDGELOOP_COMPAT_ROOT") or Path(__file__).parents[2])
TESTS = ROOT / "tests"
SUPPORT = TESTS / "support"
