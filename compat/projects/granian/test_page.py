"""What stands on docs/projects/granian.md, run as it stands there."""

from __future__ import annotations

from pathlib import Path

from workers import page


def test_program(tmp_path: Path) -> None:
    page.serves(tmp_path, "python serve.py", "app.py", "serve.py")
