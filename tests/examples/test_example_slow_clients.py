"""examples/slow_clients.py: the attacks are made, and the limits hold. ``CLIENTS=1000`` makes them as large as the page's."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from example_modules import example_module
from example_process import EXAMPLES, environment
from recording import Run
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only  # limits of the server, and its status

CLIENTS = int(os.environ.get("CLIENTS", "200"))


@pytest.fixture(autouse=True)
def same_edgeloop(pytestconfig: pytest.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's process imports the edgeloop that these tests import."""
    monkeypatch.setenv("PYTHONPATH", environment(pytestconfig, tmp_path)["PYTHONPATH"])


async def attacked(kind: str, limits: dict[str, Any], enough: Any) -> dict[str, Any]:
    """Attack a server until ``enough(status, times)``; return its last status."""
    module = example_module("slow_clients.py")
    server = await module.ServerProcess.start(limits)
    times: list[float | None] = []
    tasks = [
        asyncio.create_task(module.attack(kind, server.address, f"127.0.1.{1 + number % 100}", 0.05))
        for number in range(CLIENTS)
    ]
    tasks.append(asyncio.create_task(module.honest(server.address, times)))
    try:
        while not (server.status and enough(server.status, times)):
            await asyncio.sleep(0.05)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.end()
    found: dict[str, Any] = server.status
    return found


def answered(times: list[float | None]) -> int:
    return len([taken for taken in times if taken is not None])


@pytest.mark.parametrize(
    ("kind", "limits", "counted"),
    [
        ("silent", {"first_byte_timeout": 0.2}, "first_byte"),
        ("slowloris", {"max_lifetime": 0.3}, "lifetime"),
        ("slow-reader", {"write_timeout": 0.3}, "write"),
    ],
)
def test_slow_clients_are_ended_and_others_served(run: Run, kind: str, limits: dict[str, Any], counted: str) -> None:
    def enough(status: dict[str, Any], times: list[float | None]) -> bool:
        return status["timed_out"][counted] >= CLIENTS and answered(times) > 0

    found = run(attacked(kind, {**limits, "max_connections": CLIENTS // 2}, enough))
    assert found["high_mark"] <= CLIENTS // 2
    assert [name for name, count in found["timed_out"].items() if count] == [counted]


def test_one_address_has_no_more_than_its_share(run: Run) -> None:
    def enough(status: dict[str, Any], times: list[float | None]) -> bool:
        return status["refused"] >= CLIENTS // 2 and answered(times) > 0

    found = run(attacked("flood", {"max_connections_per_peer": 1}, enough))
    assert found["high_mark"] <= 100 + 1  # a hundred addresses, and the honest client's


def test_the_table_is_that_of_the_page() -> None:
    options = ("--attack", "silent", "--clients", "20", "--seconds", "0.3", "--pause", "0.1")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "slow_clients.py"), *options],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    head, line, *rows = done.stdout.splitlines()
    page = (ROOT / "docs" / "serving-attacks.md").read_text()
    assert f"{head}\n{line}\n" in page
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [row[:2] for row in cells] == [["silent", limits] for limits in ("none", "all but per peer", "all")]
    module = example_module("slow_clients.py")
    shown = {row.split(" | ")[0] for row in page.splitlines() if row.startswith("| ")}
    assert shown == {"| attack", "| ---"} | {f"| {kind}" for kind in module.ATTACK}
    (limits,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert ast.literal_eval(limits) == module.LIMITS
