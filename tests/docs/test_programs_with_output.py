"""Pages whose programs have what they print below them: each is run, and prints that."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fences import fences
from page_programs import run_program, with_output
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only

#: Those that no other test runs.
PAGES = [
    "docs/from-uvloop.md",
    "docs/subprocesses.md",
    "docs/tls.md",
    *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/reference/*.md")),
]
PROGRAMS = {(page, name): program for page in PAGES for name, program in with_output(ROOT / page).items()}


def make_certificates(folder: Path) -> None:
    """Make those of docs/tls.md by its command: cert.pem and key.pem, and two more for the program that renews one."""
    commands = [command for fence in fences(ROOT / "docs" / "tls.md") for command in fence.commands]
    (command,) = [command for command in commands if command.startswith("openssl req ")]
    for name in ("old.pem", "new.pem", "cert.pem"):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
        (folder / name).write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())


@pytest.mark.parametrize(("page", "name"), PROGRAMS)
def test_a_program_prints_what_stands_below_it(
    page: str, name: str, pytestconfig: pytest.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page == "docs/tls.md":
        make_certificates(tmp_path)
    text, output = PROGRAMS[page, name]
    if "prometheus_client" in text:
        pytest.importorskip("prometheus_client", reason="has no release for this Python")
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    for variable in [name for name in os.environ if name.startswith(("NOTIFY_", "LISTEN_", "WATCHDOG_"))]:
        monkeypatch.delenv(variable)
    done = run_program(pytestconfig, tmp_path, name, text)
    assert (done.returncode, done.stdout, done.stderr) == (0, output, "")
