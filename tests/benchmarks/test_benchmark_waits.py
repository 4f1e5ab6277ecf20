"""The cells that say how long a peer waits count what they say: bursts, first bytes, floods, cold starts."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from benchmark_runs import LONGER, OURS, SHORT, can_talk_tls, document_in, needs_two_cores, run

from benchmarks import charts, machine, report
from benchmarks.cells import CELLS, WAITED_FOR
from benchmarks.loops import LIMIT
from benchmarks.processes import PROGRAMS, Bench, MeasurementError, compiled, counted, serving, started

OVER_TLS = ("firstbytetls", "handshakeflood")
#: The two extremes of bursts stand for all six: they differ in numbers only.
BURSTS = ("burst-32-0", "burst-256-200")
MEASURED = [cell.name for cell in WAITED_FOR if not cell.name.startswith("burst")] + list(BURSTS)
#: In which the server floods itself or is flooded by the load, with what the load takes for an address.
FLOODS = {"connflood": "connections", "dgramflood": "datagrams", "threadflood": "none", "timerflood": "none"}


def possible(name: str) -> bool:
    return can_talk_tls() or name not in OVER_TLS


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page, the figures and the charts of a short run."""
    names = list(filter(possible, MEASURED))
    for seconds in LONGER:
        folder = tmp_path_factory.mktemp("written")
        places = ("--write", "--results", str(folder), "--charts", str(folder / "charts"))
        done = run(*names, "--loops", f"c,asyncio,{OURS}", *SHORT, "--seconds", seconds, *places)
        if done.returncode == 0:
            return folder
    raise AssertionError(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with compiled() as folder:
        yield Bench(folder, machine.choose_cores())


@needs_two_cores
class TestShortRun:
    @pytest.mark.parametrize("name", MEASURED)
    def test_every_loop_has_every_figure(self, written: Path, name: str) -> None:
        if not possible(name):
            pytest.skip("the load over TLS needs openssl and its headers")
        cell = document_in(written)["cells"][name]
        assert set(cell["loops"]) == {"asyncio", OURS} | ({LIMIT} if CELLS[name].limited else set())
        for loop, found in cell["loops"].items():
            assert found["failure"] is None, loop
            for column in cell["columns"]:
                (value,) = found["samples"][column["key"]]
                assert value >= 0
                assert value > 0 or column["key"] == "busy"

    def test_what_a_peer_waits_for_has_its_own_table(self, written: Path) -> None:
        (page,) = written.glob("*.md")
        _, table = page.read_text().split("## What a peer waits for\n")
        table, others = table.split("\n## ", 1)
        for row in report.rows(document_in(written)):
            if row.awaited:
                assert table.count(f"| {report.label(row)} |") == 1
                assert f"| {report.label(row)} |" not in others

    def test_charts_are_drawn(self, written: Path) -> None:
        drawn = {path.stem for path in (written / "charts").iterdir()}
        expected = {name for name, (cell, *_) in charts.CHARTS.items() if cell in document_in(written)["cells"]}
        assert {"connflood", "firstbyte", "coldstart"} <= expected
        assert drawn == {f"{name}-{theme}" for name in expected for theme in ("light", "dark")}
        for path in (written / "charts").iterdir():
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_every_burst_has_its_cell() -> None:
    found = {name for name in CELLS if name.startswith("burst")}
    assert found == {f"burst-{connections}-{work}" for connections in (32, 256) for work in (0, 50, 200)}
    assert CELLS["burst-256-50"].workload(None, None, 1.0).connections == 256


def test_every_new_cell_is_measured_when_none_is_named() -> None:
    assert all(cell.usual for cell in WAITED_FOR)


@needs_two_cores
class TestCounts:
    """What the loads count, with the loop under test. Each load ends after its seconds, however much the server does."""

    def test_a_burst_has_as_many_answers_as_connections_in_each_of_its_bursts(self, programs: Bench) -> None:
        with serving(programs, "work", OURS, 1) as server:
            found = counted(programs, "burst", server.address, server.pid, 7, 0, 0, 0, seconds=1)
        assert found["requests"] == 2 * 7  # two bursts at least, and as many to warm up

    def test_a_round_of_first_bytes_is_short_requests_and_long_ones(self, programs: Bench) -> None:
        with serving(programs, "tokens", OURS, 1) as server:
            found = counted(programs, "firstbyte", server.address, server.pid, 0, 0, seconds=1)
        assert found["requests"] == 16 + 3

    @pytest.mark.parametrize("service", FLOODS)
    def test_a_flood_is_counted_by_the_server(self, programs: Bench, service: str) -> None:
        with serving(programs, service, OURS, 1) as server:
            ping, flooded = server.address.split()
            arguments = (FLOODS[service], ping, flooded, server.pid, 0.2, 0.3)
            found = counted(programs, "floods", *arguments, seconds=1)
        assert found["flood"] > 0
        assert found["requests"] > 0
        assert found["load_waited_ns"] <= found["waited_ns"]  # of the server or the load, the longer

    def test_a_server_without_a_flood_has_dealt_with_none(self, programs: Bench) -> None:
        with serving(programs, "dgramflood", OURS, 1) as server:
            ping, _ = server.address.split()
            found = counted(programs, "floods", "none", ping, 0, server.pid, 0, 0.1, seconds=1)
        assert found["flood"] == 0
        assert found["requests"] > 0

    def test_a_cold_start_is_done_three_times_at_least(self, programs: Bench) -> None:
        assert started(programs, OURS, 0)["requests"] == 3

    def test_a_server_that_does_not_start_ends_the_cell(self, programs: Bench, tmp_path: Path) -> None:
        broken = tmp_path / "python"
        broken.write_text("#!/bin/sh\necho it does not work >&2; exit 3\n")
        broken.chmod(0o755)
        bench = Bench(programs.programs, programs.cores, pythons={OURS: str(broken)})
        with pytest.raises(MeasurementError, match=r"(?s)it does not work.*no port"):
            started(bench, OURS, 0)

    @pytest.mark.parametrize("kind", ["nothing", ""])
    def test_an_unknown_flood_is_an_error(self, programs: Bench, kind: str) -> None:
        done = subprocess.run(
            [programs.programs / "floods", kind, "1", "1", "1", "0", "0"], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "no such kind" in done.stderr


@needs_two_cores
def test_every_program_says_how_it_is_called(programs: Bench) -> None:
    for name in ("burst", "firstbyte", "floods", "coldstart", "echo_floods"):
        assert name in PROGRAMS
        done = subprocess.run([programs.programs / name], capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert f"usage: {name}" in done.stderr


def test_figures_of_before_there_were_such_cells_still_have_their_page() -> None:
    column = {"key": "cpu_us", "heading": "CPU", "digits": 2, "compared": True, "counted": True, "pooled": False}
    loops = {"edgeloop": {"failure": None, "disturbed": 0, "samples": {"cpu_us": [1.0]}}}
    cell = {"title": "echo", "connections": 64, "size": 1024, "columns": [column], "loops": loops}
    (row,) = report.rows({"cells": {"echo": cell}})
    assert not row.awaited
