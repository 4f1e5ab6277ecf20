"""What stands on docs/projects/uvicorn.md, run as it stands there."""

from __future__ import annotations

from pathlib import Path

from workers import page
from workers.served import Served, eventually


def test_command(tmp_path: Path) -> None:
    page.serves(tmp_path, "uvicorn --loop", "app.py", workers=1)


def test_program(tmp_path: Path) -> None:
    page.serves(tmp_path, "serve.py", "app.py", "serve.py", workers=1)


def test_on_the_loop_of_a_program(tmp_path: Path) -> None:
    def use(server: Served) -> None:
        server.process.terminate()
        eventually(lambda: "served\n" in server.log(), "the program goes on after the server", server.log)
        assert "asked to end\n" in server.log()

    page.serves(tmp_path, "beside.py", "app.py", "beside.py", workers=1, use=use)
