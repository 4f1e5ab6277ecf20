"""What stands on docs/projects/hypercorn.md, run as it stands there."""

from __future__ import annotations

from pathlib import Path

import httpx
from workers import page
from workers.served import Served


def use(server: Served) -> None:
    """HTTP/2 on the same port, without an upgrade."""
    with httpx.Client(http1=False, http2=True) as client:
        for _ in range(3):
            facts = client.get(f"http://127.0.0.1:{server.port}/").json()
            assert facts["http"] == "2"
            assert facts["loop"] == server.loop


def test_program(tmp_path: Path) -> None:
    page.serves(tmp_path, "serve.py", "serve.py", workers=1, use=use)


def test_command_without_workers(tmp_path: Path) -> None:
    page.serves(tmp_path, "python -m edgeloop", "serve.py", workers=1, use=use)
