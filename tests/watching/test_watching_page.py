"""docs/watching.md: its programs run as they stand there, its names and the dashboard's are those that are exported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT
from switching_on_page import program

from edgeloop.metrics import table

pytestmark = pytest.mark.edgeloop_only

PAGE = ROOT / "docs" / "watching.md"
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"
METRIC = re.compile(r"asyncio_eventloop_\w+")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def started(folder: Path, name: str, *command: str) -> subprocess.Popen[str]:
    (folder / name).write_text(program(name, PAGE).replace("8080", "0"))
    variables = dict(os.environ) | {"PYTHONUNBUFFERED": "1", "XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command or [sys.executable, name],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(folder: Path, name: str) -> str:
    process = started(folder, name)
    text, _ = process.communicate(timeout=50)
    assert process.returncode == 0, text
    return text


@contextmanager
def server(folder: Path, name: str, *command: str) -> Iterator[str]:
    """The URL that a server says it is at."""
    process = started(folder, name, *command)
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                break
        else:
            pytest.fail("".join(lines))
    finally:
        process.terminate()
        process.communicate()


def metrics_at(url: str) -> str:
    with urllib.request.urlopen(url, timeout=40) as answer:
        return str(answer.read().decode())


def test_the_program_of_figures_says_what_took_long(folder: Path) -> None:
    assert "a callback took up to 0." in (text := output(folder, "figures.py"))
    assert "main() at" in text and "2 timers" in text


def test_the_reader_of_the_shared_file_sees_that_the_loop_is_blocked(folder: Path) -> None:
    assert re.fullmatch(r"\d+: blocked for \d+\.\d{3} s\n", output(folder, "shared.py"))


def test_the_service_serves_its_metrics(folder: Path) -> None:
    pytest.importorskip("prometheus_client", reason="has no release for this Python")
    with server(folder, "watched_service.py") as url:
        assert 'asyncio_eventloop_turns_total{loop="main"}' in metrics_at(f"{url}/metrics")


def test_aiohttp_serves_them(folder: Path) -> None:
    pytest.importorskip("prometheus_client", reason="has no release for this Python")
    (folder / "print_port.py").write_text(
        "import watched_aiohttp as module, edgeloop, socket\n"
        "from aiohttp import web\n"
        "sock = socket.create_server(('127.0.0.1', 0))\n"
        "print(f'http://127.0.0.1:{sock.getsockname()[1]}', flush=True)\n"
        "web.run_app(module.app, sock=sock, loop=edgeloop.new_event_loop(), print=None)\n"
    )
    with server(folder, "watched_aiohttp.py", sys.executable, "print_port.py") as url:
        assert 'asyncio_eventloop_accepts_total{loop="main",outcome="accepted"}' in metrics_at(f"{url}/metrics")


def test_asgi_serves_them(folder: Path) -> None:
    pytest.importorskip("prometheus_client", reason="has no release for this Python")
    pytest.importorskip("fastapi")
    found = re.search(r"^```sh\nuvicorn (--loop .*watched_asgi:app)\n```$", PAGE.read_text(), re.MULTILINE)
    assert found is not None
    command = [sys.executable, "-m", "uvicorn", *found[1].replace("8080", "0").split()]
    with server(folder, "watched_asgi.py", *command) as url:
        assert 'asyncio_eventloop_connections{loop="main"}' in metrics_at(f"{url}/metrics/")


def test_the_program_for_opentelemetry_runs(folder: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="has no release for this Python")
    assert output(folder, "watched_by_opentelemetry.py") == ""


def test_the_table_has_the_instruments_that_there_are() -> None:
    rows = re.findall(r"^\| `(asyncio\.eventloop\.[\w.]+)` \| (\S+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [
        (f"{table.PREFIX}.{metric.name}", metric.unit, ", ".join(f"`{name}`" for name in metric.attributes))
        for metric in table.METRICS
    ]


def expressions() -> list[str]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return found + [variable["query"]["query"] for variable in dashboard["templating"]["list"][1:]]


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are() -> None:
    pytest.importorskip("prometheus_client", reason="has no release for this Python")
    from edgeloop.metrics import prometheus

    labels = {"job", "le"}
    names = set()
    for family in prometheus.LoopCollector(None).describe():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {family.name + suffix for suffix in suffixes}
        labels |= set(family._labelnames)  # type: ignore[attr-defined]
    asked = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert asked and asked <= names
    used = {
        label
        for expression in expressions()
        for part in re.findall(r"by \(([^)]*)\)", expression)
        for label in part.split(", ")
    }
    assert used <= labels


def test_the_dashboards_panels_do_not_overlap_and_have_their_own_numbers() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + 8)}
        assert not own & cells and place["x"] + place["w"] <= 24
        cells |= own
    assert all(expression.count("(") == expression.count(")") for expression in expressions())
