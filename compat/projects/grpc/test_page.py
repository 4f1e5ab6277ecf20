"""What stands on gRPC's page, run as it stands there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgeloop_compat_pages import command, program


def test_program(tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(program("shouting.py"))
    done = subprocess.run(command("python shouting.py"), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["<class 'edgeloop.loop.EventLoop'>", "GRPC IS HERE", "1000"]
