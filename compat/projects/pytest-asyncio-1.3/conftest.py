"""What tests/conftest.py gives to these tests in edgeloop's own checkout, as far as they need it here."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--loop", default="edgeloop")


@pytest.fixture(autouse=True)
def no_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suites that these tests start have the loop that they ask for, and no other."""
    monkeypatch.delenv("EDGELOOP_COMPAT_LOOP")
