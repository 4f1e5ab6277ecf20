"""Every program and command on every page is run by a test, or stands below with the reason why it is not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from fences import Fence, fences, pages, strings_of
from repository import ROOT, TESTS

#: Whose tests run what is on a page: a program or command counts as run if one of these files names it.
RUN_BY = {
    "docs/containers.md": ["docs/test_commands.py"],
    "docs/differences.md": ["switching/test_differences_page.py"],
    "docs/instruments.md": ["watching/test_instruments_page.py"],
    "docs/reference/commands.md": ["docs/test_commands.py"],
    "docs/serving.md": ["serving/test_activation_page.py"],
    "docs/start.md": ["docs/test_commands.py"],
    "docs/streams.md": ["streams/test_streams_connections.py"],
    "docs/switching-on.md": ["switching/test_switching_on.py"],
    "docs/testing.md": [
        "switching/test_pytest_asyncio.py",
        "switching/test_pytest_option.py",
        "switching/test_switching_on.py",
    ],
    "docs/tls.md": ["docs/test_programs_with_output.py"],
    "docs/tools.md": ["watching/test_tools_pages.py"],
    "docs/top.md": ["watching/test_tools_pages.py"],
    "docs/watching.md": ["watching/test_watching_page.py"],
    "examples/README.md": ["examples/test_examples.py"],
}

#: Pages of which a test runs every program that has its output below it.
PRINTED = {
    "docs/datagrams.md": "transports/test_datagrams_page.py",
    "docs/deadlines.md": "serving/test_deadlines_page.py",
    "docs/differences.md": "switching/test_differences_page.py",
    "docs/serving.md": "examples/test_serving_page.py",
    "docs/start.md": "docs/test_programs_with_output.py",
    "docs/tools.md": "watching/test_tools_pages.py",
    "docs/watchdog.md": "watching/test_watchdog_page.py",
} | {
    page: "docs/test_programs_with_output.py"
    for page in pages()
    if page.startswith("docs/reference/") or page in ("docs/from-uvloop.md", "docs/subprocesses.md", "docs/tls.md")
}

#: Commands that no test runs, by their beginning.
NOT_RUN = {
    "$ make ": "sessions of noxfile.py, minutes to hours each; CI runs test and check",
    "$ .venv/": "the same commands, on the environment that make develop makes",
    "$ EDGELOOP_PURE=1 .venv/": "likewise",
    "$ EDGELOOP_DEBUG=1 .venv/": "builds in place, where other tests run what is built",
    "$ PYTHONASYNCIODEBUG=1 .venv/": "likewise; debug mode has its tests",
    "$ grep tfd": "reads a process that the reader has started",
    "$ pip install": "asks a package index; tests/package installs the wheel",
    "pip install": "likewise",
    "$ python -m benchmarks": "minutes; tests/benchmarks runs parts",
    "python -m benchmarks": "likewise",
    "$ python -m compat": "minutes, and installs packages; tests/compat runs parts",
    "$ python tests/weather/seeded.py": "runs parts of the suite again; tests/weather has its parts",
    "make ": "sessions of noxfile.py",
    "python -m pytest": "the suite itself",
    "python examples/slow_clients.py": "attacks for minutes; tests/examples/test_example_slow_clients.py does for seconds",
    "curl http://127.0.0.1:8080/        #": "with workers that are replaced: tests/examples/test_example_workers.py does it",
}

#: Pieces of programs, and programs that want what no test has: page and first line.
NOT_RUN_ON = {
    ("README.md", "import asyncio"): "run: tests/examples/test_readme.py finds it by its first line",
    ("README.md", "$ python server.py"): "run, with another port: tests/examples/test_readme.py",
    ("README.md", "$ echo world | nc 127.0.0.1 8888"): "asked by a socket: tests/examples/test_readme.py",
    ("README.md", "server = await asyncio.start_server("): "a piece; its arguments are on docs/serving.md",
    (
        "README.md",
        "$ python -m edgeloop --watch 0.1 program.py   # what blocks the loop, with its stack, while it blocks",
    ): ("tests/docs/test_commands.py runs both from docs/reference/commands.md"),
    ("docs/datagrams.md", "def datagram_received(self, data, addr):"): "a piece of a class",
    (
        "docs/index.md",
        "$ pip install edgeloop",
    ): "asks a package index; the second line is on docs/reference/commands.md",
    ("docs/instruments.md", "loop.add_instrument(instrument)"): "a piece",
    ("docs/projects/home-assistant.md", "on_edgeloop.py"): "needs Home Assistant, which the page says",
    ("docs/projects/home-assistant.md", "python on_edgeloop.py --config config"): "likewise",
    (
        "docs/projects/jupyter.md",
        "jupyter kernelspec install --user edgeloop",
    ): "writes to the user's folder; the test starts the kernel",
    ("docs/projects/trio.md", "trio.lowlevel.start_guest_run("): "a piece; whole programs follow",
    ("docs/serving-attacks.md", "{"): "the limits that examples/slow_clients.py has",
    (
        "docs/testing.md",
        "conftest.py with the fixture",
    ): "run: tests/switching/test_pytest_asyncio.py makes up its name",
    ("docs/testing.md", "conftest.py with the hook"): "likewise",
    ("docs/tools.md", "with blockbuster_ctx() as blockbuster:"): "a piece; a test looks whether what it names is there",
    ("docs/watchdog.md", "import asyncio"): "run: tests/watching/test_watchdog_page.py finds it by its place",
}


def projects() -> dict[str, list[Path]]:
    """The test files of each recipe that has a page: ``python -m compat NAME`` runs them."""
    found: dict[str, list[Path]] = {}
    for recipe in ROOT.glob("compat/projects/*/recipe.toml"):
        page = tomllib.loads(recipe.read_text()).get("page")
        if page:
            found.setdefault(page, []).extend(recipe.parent.glob("test_*.py"))
    return found


def is_named(fence: Fence, strings: frozenset[str]) -> bool:
    if fence.language == "python":
        return fence.name in strings
    return all(any(len(word) > 3 and command.startswith(word) for word in strings) for command in fence.commands)


def runs(fence: Fence, programs: list[Fence]) -> bool:
    """Whether these are commands that run such a program, by its name: who runs that runs them."""
    names = {program.name for program in programs if program.language == "python"}
    found = [re.match(r"python (\S+\.py)", command) for command in fence.commands]
    return fence.language != "python" and all(match is not None and match[1] in names for match in found)


def reason(page: str, fence: Fence) -> tuple[str, ...] | None:
    """Which entry says why the fence is not run, None without one."""
    first = fence.text.partition("\n")[0].strip()
    for key in ((page, fence.name), (page, first)):
        if key in NOT_RUN_ON:
            return key
    return next(((start,) for start in NOT_RUN if fence.language != "python" and first.startswith(start)), None)


def not_run(page: str) -> list[Fence]:
    files = [TESTS / name for name in RUN_BY.get(page, [])] + projects().get(page, [])
    strings = frozenset[str]().union(*map(strings_of, files))
    every = list(fences(ROOT / page))
    done = [fence for fence in every if is_named(fence, strings) or (page in PRINTED and fence.output is not None)]
    return [fence for fence in every if fence not in done and not runs(fence, done)]


@pytest.mark.parametrize("page", pages())
def test_each_program_and_command_is_run(page: str) -> None:
    left = [f"{fence.language}: {fence.name}" for fence in not_run(page) if reason(page, fence) is None]
    assert left == []


def test_no_reason_is_left_over() -> None:
    used = {reason(page, fence) for page in pages() for fence in not_run(page)}
    listed = {(start,) for start in NOT_RUN} | set(NOT_RUN_ON)
    assert listed - used == set()


def test_make_s_targets_and_the_files_of_commands_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+(?: [a-z]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    names = {target for line in targets for target in line.split()}
    for page in pages():
        for fence in fences(ROOT / page):
            for command in fence.commands if fence.language != "python" else ():
                words = command.split()
                if words[0] == "make":
                    assert words[1] in names, (page, command)
                paths = [word for word in words if re.fullmatch(r"(?:tests|examples|compat)/[\w/.-]+", word)]
                assert [path for path in paths if not (ROOT / path).exists()] == [], (page, command)
