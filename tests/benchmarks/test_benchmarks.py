"""The benchmarks measure what they say, and their page and charts are well-formed. No time is looked at."""

from __future__ import annotations

import json
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from benchmark_runs import LONGER, OURS, SHORT, can_talk_tls, document_in, needs_two_cores, run
from repository import ROOT

from benchmarks import report
from benchmarks.cells import CELLS, FAMILIES
from benchmarks.loops import LIMIT

#: One of each way to measure.
MEASURED = ("echo", "twowrites", "unix", "accept", "datagrams", "flood", "askstreams", "callsoon", "sleeps", "fairness")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page, the figures and the charts of a short run."""
    for seconds in LONGER:
        folder = tmp_path_factory.mktemp("written")
        places = ("--write", "--results", str(folder), "--charts", str(folder / "charts"))
        done = run(*MEASURED, "--loops", f"c,asyncio,{OURS}", *SHORT, "--seconds", seconds, *places)
        if done.returncode == 0:
            return folder
    raise AssertionError(done.stdout + done.stderr)


@needs_two_cores
class TestShortRun:
    @pytest.mark.parametrize("name", MEASURED)
    def test_every_loop_has_every_figure(self, written: Path, name: str) -> None:
        cell = document_in(written)["cells"][name]
        expected = {"asyncio", OURS} | ({LIMIT} if CELLS[name].limited else set())
        assert set(cell["loops"]) == expected
        for loop, found in cell["loops"].items():
            assert found["failure"] is None, loop
            for column in cell["columns"]:
                (value,) = found["samples"][column["key"]]
                assert value >= 0
                if column["compared"]:
                    assert value > 0 or name == "sleeps"

    def test_page_has_a_row_for_each_compared_figure(self, written: Path) -> None:
        (page,) = written.glob("*.md")
        lines = page.read_text().splitlines()
        for row in report.rows(document_in(written)):
            if row.compared:
                (line,) = [line for line in lines if line.startswith(f"| {report.label(row)} |")]
                assert line.count("|") == lines[lines.index(line) - 1].count("|")

    def test_page_names_no_folder_of_this_machine(self, written: Path) -> None:
        (page,) = written.glob("*.md")
        assert str(ROOT) not in page.read_text() and sys.prefix not in page.read_text()

    def test_charts_are_svg_in_both_themes(self, written: Path) -> None:
        drawn = {path.name for path in (written / "charts").iterdir()}
        names = ["echo", "flood", "callsoon", "sleeps"]
        names += ["all"] if OURS == report.OURS else []  # its measure is the compiled edition
        assert drawn == {f"{name}-{theme}.svg" for name in names for theme in ("light", "dark")}
        for path in (written / "charts").iterdir():
            tree = ElementTree.parse(path).getroot()
            assert tree.tag == "{http://www.w3.org/2000/svg}svg"
            names_shown = {text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")}
            assert {"asyncio", OURS} <= names_shown

    def test_charts_are_drawn_again_without_measuring(self, written: Path, tmp_path: Path) -> None:
        (path,) = written.glob("*.json")
        copy = tmp_path / "figures.json"
        shutil.copy(path, copy)
        done = run("--chart", str(copy), "--charts", str(tmp_path))
        assert done.returncode == 0, done.stderr
        for chart in (written / "charts").iterdir():
            assert (tmp_path / chart.name).read_text() == chart.read_text()
        (page,) = written.glob("*.md")
        assert copy.with_suffix(".md").read_text() == page.read_text()

    def test_a_cell_that_is_measured_again_takes_the_place_of_the_one_before(
        self, written: Path, tmp_path: Path
    ) -> None:
        (path,) = written.glob("*.json")
        copy = tmp_path / "figures.json"
        shutil.copy(path, copy)
        before = json.loads(path.read_text())["cells"]
        places = ("--again", str(copy), "--charts", str(tmp_path))
        done = run("sleeps", "--loops", f"asyncio,{OURS}", *SHORT, *places)
        assert done.returncode == 0, done.stderr
        after = json.loads(copy.read_text())["cells"]
        assert list(after) == list(before)
        assert [name for name in after if after[name] != before[name]] == ["sleeps"]
        assert f"{after['sleeps']['again']}: `sleeps`" in copy.with_suffix(".md").read_text()

    def test_tls(self, tmp_path: Path) -> None:
        if not can_talk_tls():
            pytest.skip("the load over TLS needs openssl and its headers")
        out = tmp_path / "out.json"
        for seconds in LONGER:
            what = ("tls", "handshakes", "idletls", "--connections", "8", "--loops", OURS)
            done = run(*what, *SHORT, "--seconds", seconds, "--json", str(out))
            if done.returncode == 0:
                break
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(json.loads(out.read_text())["cells"]) == {"tls", "handshakes", "idletls"}


@needs_two_cores
def test_a_loop_that_fails_does_not_end_the_run(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text(
        '#!/bin/sh\ncase "$*" in *benchmarks.loops*) echo 0.0;; *) echo "it does not work" >&2; exit 3;; esac\n'
    )
    broken.chmod(0o755)
    places = ("--write", "--results", str(tmp_path), "--charts", str(tmp_path / "charts"))
    done = run("echo", "callsoon", "--loops", f"uvloop,{OURS}", "--python", f"uvloop={broken}", *SHORT, *places)
    assert done.returncode == 1
    (page,) = tmp_path.glob("*.md")
    lines = page.read_text().splitlines()
    (row,) = [line for line in lines if line.startswith("| `echo` CPU us/req |")]
    assert row.split("|")[2].strip() == report.DASH
    for cell in ("echo", "callsoon"):
        (reason,) = [line for line in lines if line.startswith(f"- `{cell}`, uvloop: ")]
        assert "exit code 3" in reason and "it does not work" in reason


def test_variants_have_their_numbers() -> None:
    for family in FAMILIES:
        variants = [cell for name, cell in CELLS.items() if name == family.name or name.startswith(f"{family.name}-")]
        assert len({(cell.size, cell.connections) for cell in variants}) == len(variants) == 12
    assert (CELLS["echo-16k-1000"].size, CELLS["echo-16k-1000"].connections) == (16 * 1024, 1000)


def sample(name: str, values: dict[str, list[float]], counted: bool = True) -> report.Row:
    return report.Row(name, name, "cpu_us", "CPU", 2, True, counted, False, values)


def test_mean_takes_each_cell_once_and_only_what_both_finished() -> None:
    found = [
        sample("one", {"edgeloop": [1.0], "uvloop": [2.0]}),
        sample("two", {"edgeloop": [1.0], "uvloop": [8.0]}),
        sample("two", {"edgeloop": [1.0], "uvloop": [8.0]}),
        sample("three", {"edgeloop": [1.0]}),
        sample("four", {"edgeloop": [1.0], "uvloop": [100.0]}, counted=False),
    ]
    mean, cells = report.mean_ratio(found, "uvloop", "edgeloop")
    assert mean == pytest.approx(4.0)
    assert cells == 2


def test_best_peer_is_neither_the_limit_nor_ours() -> None:
    row = sample("one", {"c": [1.0], "edgeloop": [2.0], "aiofastnet+edgeloop": [2.0], "rloop": [4.0], "uvloop": [3.0]})
    assert row.best_peer() == "uvloop"
    assert row.best_ratio() == pytest.approx(2 / 3)


def test_fastest_rounds_are_those_of_the_peers() -> None:
    """The peer with the best median need not have the fastest round."""
    row = sample("one", {"c": [1.0, 1.0], "edgeloop": [4.0, 9.0], "rloop": [6.0, 8.0], "uvloop": [5.0, 19.0]})
    assert row.best_peer() == "rloop"
    assert row.fastest_ratio() == pytest.approx(4 / 5)
    assert sample("one", {"c": [1.0], "edgeloop": [1.0]}).fastest_ratio() is None
    assert sample("one", {"uvloop": [1.0]}).fastest_ratio() is None
    assert sample("one", {"edgeloop": [1.0], "uvloop": [0.0]}).fastest_ratio() is None  # a memory that has not grown
    pooled = report.Row("one", "one", "p99", "p99", 2, True, False, True, {"edgeloop": [1.0], "uvloop": [2.0]})
    assert pooled.fastest_ratio() is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "no such cell"),
        (("echo", "--loops", "nothing"), "no such loop"),
        (("echo", "--rounds", "0"), "at least 1"),
        (("echo", "--seconds", "0.01"), "at least 0.1"),
        (("profile",), "which cell"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
