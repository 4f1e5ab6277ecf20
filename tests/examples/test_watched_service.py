"""examples/watched_service.py, and the page that walks through it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from example_process import EXAMPLES, environment
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only

PAGE = (ROOT / "docs" / "watched-service.md").read_text()


class Service:
    """The service in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
            return json.load(answer)

    def report(self) -> str:
        """The next line on standard error, of the watchdog."""
        assert self.process.stderr is not None
        return self.process.stderr.readline()


@pytest.fixture
def service(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[Service]:
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "watched_service.py"), "--port", "0"],
        env=environment(pytestconfig, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        try:
            assert process.stdout is not None
            yield Service(process, process.stdout.readline().split()[-1])
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_the_endpoint_that_computes_is_reported_before_it_answers(service: Service) -> None:
    assert service.ask("/thumbnail").keys() == {"digest"}
    assert "edgeloop.watch WARNING the event loop has been blocked for 0." in service.report()
    found = [service.report()]
    while "in render" not in found[-1]:
        found.append(service.report())
    assert "watched_service.py" in found[0]
    assert "in answer" in "".join(found)


def test_a_connection_that_is_forgotten_stays_in_the_figures(service: Service) -> None:
    before = service.ask("/stats")["connections"]
    for _ in range(3):
        assert service.ask("/price") == {"price": 42}
    assert service.ask("/stats")["connections"] >= before + 3


def test_its_metrics_are_scraped_and_top_finds_it(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client", reason="has no release for this Python")
    command = [sys.executable, str(EXAMPLES / "watched_service.py"), "--port", "0", "--metrics", "0"]
    env = environment(pytestconfig, tmp_path)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            metrics, served = (process.stdout.readline().split()[-1] for _ in range(2))
            with urllib.request.urlopen(f"{served}/stats", timeout=60) as answer:
                assert json.load(answer)["connections"] >= 1
            with urllib.request.urlopen(metrics, timeout=60) as answer:
                assert re.search(
                    r'^asyncio_eventloop_delay_seconds_count\{loop="main"\} [1-9]', answer.read().decode(), re.M
                )
            looked = subprocess.run(
                [sys.executable, "-m", "edgeloop", "ps", str(process.pid), "--json"],
                cwd=ROOT,
                env=env,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            (found,) = json.loads(looked.stdout)
            assert found["pid"] == process.pid
        finally:
            process.kill()


def test_the_page_shows_the_lines_of_the_service(service: Service) -> None:
    shown = re.findall(r'File "examples/(\w+\.py)", line (\d+), in (\w+)', PAGE)
    assert shown
    for path, number, name in shown:
        source = (EXAMPLES / path).read_text().splitlines()
        above = "\n".join(source[: int(number)])
        assert re.findall(r"^(?:async )?def (\w+)", above, re.MULTILINE)[-1] == name
    for line in re.findall(r"^    (\S.*)$", PAGE, re.MULTILINE):
        assert line in (EXAMPLES / "watched_service.py").read_text()
    for path in re.findall(r"^\$ curl http://127\.0\.0\.1:8011(/\w+)$", PAGE, re.MULTILINE):
        if path != "/slow":
            service.ask(path)
