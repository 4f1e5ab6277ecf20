from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["port", "unix"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The path of the application's Unix socket, or None for a port."""
    return str(tmp_path / "application.sock") if request.param == "unix" else None
