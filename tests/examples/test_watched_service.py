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
