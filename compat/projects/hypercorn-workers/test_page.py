"""What stands on docs/projects/hypercorn-workers.md, run as it stands there."""

from __future__ import annotations

from pathlib import Path

from workers import page


def test_application_that_switches_it_on(tmp_path: Path) -> None:
    page.serves(tmp_path, "hypercorn --workers 2 --bind 127.0.0.1:8080 app", "app.py")


def test_module_before_the_application(tmp_path: Path) -> None:
    page.serves(tmp_path, "hypercorn --workers 2 --bind 127.0.0.1:8080 on_edgeloop", "app.py", "on_edgeloop.py")
