"""README: its server serves as printed; its figures, and those of docs/performance.md, are of the page that they name."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from example_process import environment
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only

TEXT = (ROOT / "README.md").read_text()
ROWS = {
    "echo": "echo, `asyncio.Protocol`",
    "streams": "echo, asyncio's streams",
    "tls": "echo over TLS",
    "http": "aiohttp server",
    "fastapi": "FastAPI on uvicorn",
}


def test_the_first_server_greets(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(import asyncio.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    script = tmp_path / "server.py"
    program = program.replace("8888", str(port)).replace("await server.serve", "print(flush=True); await server.serve")
    script.write_text(program)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment(pytestconfig, tmp_path)
    ) as process:
        try:
            assert process.stdout
            printed = process.stdout.readline()
            assert f"$ python server.py\n{printed}" in TEXT
            process.stdout.readline()  # it listens
            with socket.create_connection(("127.0.0.1", port), 30) as sock:
                sock.sendall(b"world\n")
                answer = sock.makefile().read()
            assert f"$ echo world | nc 127.0.0.1 8888\n{answer}" in TEXT
        finally:
            process.kill()


def test_the_figures_are_those_of_the_page() -> None:
    (page,) = re.findall(r"<!-- of (\S+); a test compares -->", TEXT)
    lines = (ROOT / page).read_text().splitlines()
    for cell, name in ROWS.items():
        (line,) = [line for line in lines if line.startswith(f"| `{cell}` CPU us/req |")]
        asyncio, uvloop, ours = (float(figure) for figure in re.findall(r"([\d.]+) ±", line.split("|", 3)[3])[:3])
        (shown,) = re.findall(rf"^\| {re.escape(name)} \| ([\d.]+) \| ([\d.]+) \| 1 \|$", TEXT, re.MULTILINE)
        assert [float(ratio) for ratio in shown] == pytest.approx([asyncio / ours, uvloop / ours], abs=0.006)
    means_row = r"^\| all 33 rows, geometric mean \| ([\d.]+) \| ([\d.]+) \| 1 \|$"
    (means,) = re.findall(means_row, TEXT, re.MULTILINE)
    for loop, ratio in zip(("asyncio", "uvloop"), means, strict=True):
        assert f"| {loop} | {ratio} | 33 |" in lines


def test_the_figures_of_where_the_time_goes_are_those_of_the_page() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    (page,) = re.findall(r"<!-- of \.\./(\S+); a test compares -->", text)
    measured = {
        tuple(figure.strip(" *").partition(" ±")[0] for figure in line.split("|")[2:7])
        for line in (ROOT / page).read_text().splitlines()
        if " CPU us/" in line
    }
    shown = re.findall(r"^\| .* \| (\S+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$", text, re.MULTILINE)
    rows = [row for row in shown if row[1][0].isdigit()]
    assert len(rows) == 10
    assert set(rows) <= measured
