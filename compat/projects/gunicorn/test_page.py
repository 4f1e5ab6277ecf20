"""What stands on docs/projects/gunicorn.md, run as it stands there."""

from __future__ import annotations

from pathlib import Path

from workers import page


def test_configuration_file(tmp_path: Path) -> None:
    page.serves(tmp_path, "gunicorn app:app", "gunicorn.conf.py", "app.py")


def test_derived_worker(tmp_path: Path) -> None:
    page.serves(tmp_path, "gunicorn --worker-class", "gunicorn.conf.py", "app.py", "worker.py")
