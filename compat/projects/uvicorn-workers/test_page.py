"""What stands on docs/projects/uvicorn-workers.md, run as it stands there."""

from __future__ import annotations

from pathlib import Path

from workers import page


def test_command(tmp_path: Path) -> None:
    page.serves(tmp_path, "uvicorn --workers", "app.py")


def test_program(tmp_path: Path) -> None:
    page.serves(tmp_path, "serve.py", "app.py", "serve.py")


def test_reload(tmp_path: Path) -> None:
    page.serves(tmp_path, "uvicorn --reload", "app.py", workers=1)
