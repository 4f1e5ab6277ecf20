"""The list of what users of event loops report and ask for; each entry has a test that names it in its docstring.

The tests are in the test_demand_*.py beside this file, those of switching a loop on in the two files named below.
"""

from __future__ import annotations

import ast
import datetime
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from example_process import environment
from repository import ROOT, TESTS

HERE = Path(__file__).parent

ROWS = (
    # Reports about loops: an issue tracker's number, or "run" for what was seen by running a peer.
    "uvloop #506, #685, #552",
    "uvloop #228, #549, #561",
    "uvloop #406",
    "run; uvloop #754, #746, #718",
    "run: shutdown_default_executor(timeout=0.2) takes 1 s",
    "uvloop #683",
    "run; uvloop #359, #739",
    "run: isinstance(t, asyncio.Transport) is False",
    "uvloop #409, #582",
    "uvloop #712",
    "uvloop #295, #94",
    "uvloop #749",
    "uvloop #471",
    "uvloop #565, cpython #109534",
    "uvloop #560",
    "uvloop #706, #538, #760",
    "uvicorn-worker #34, uvicorn PR #2472",
    "cpython #151615",
    "cpython #112169, #120644",
    "cpython #91487",
    "aiofastnet #62",
    "idle CPU with many timers",
    "uvloop #566",
    "loops that lean on private stdlib classes",
    # What asyncio's own tests catch in other loops.
    "asyncio's own tests: a signal that arrives between two runs",
    "asyncio's own tests: full argument checks of add_signal_handler",
    "asyncio's own tests: timers past their deadline run in deadline order",
    "asyncio's own tests: write during sendfile",
    "asyncio's own tests: abort_clients",
    "asyncio's own tests: shutdown_default_executor(timeout)",
    'asyncio\'s own tests: "a callable object was expected"',
    "asyncio's own tests: the slow-callback log text",
    "asyncio's own tests: eof_received after an unclean TLS end",
    "asyncio's own tests: remove_reader/writer/signal_handler return values",
    "asyncio's own tests: wait_closed",
    "asyncio's own tests: TransportSocket",
    "argument validation texts",
    "asyncio's own tests: sock_connect starting in its first step",
    "asyncio's own tests: the task's name with a custom factory",
    "asyncio's own tests: BaseException out of a callback",
    "asyncio's own tests: the asyncio logger found through asyncio.base_events.logger",
    "asyncio's own tests: coroutines._is_debug_mode() asked at construction",
    "asyncio's own tests: Server._sockets, a pipe transport's _pipe",
    # What differs between versions of Python.
    "create_task(**kwargs): 3.13.3, 3.13.4 and 3.14",
    "Server.wait_closed changed in 3.12.1",
    "asyncio ps/pstree (3.14)",
    "3.15 adds TaskGroup.cancel",
    "3.16 create_unix_server(mode=)",
)

SWITCHING_ON = {
    "edgeloop.run(main())": ("switching/test_switching_on.py", "test_programs_that_print_their_loop", "run.py"),
    "asyncio.Runner(loop_factory=": ("switching/test_switching_on.py", "test_runner", "runner.py"),
    "asyncio.run(main(), loop_factory=": ("switching/test_switching_on.py", "test_asyncio_run", "asyncio_run.py"),
    "edgeloop.install()": ("switching/test_switching_on.py", "test_install", ""),
    "edgeloop.EventLoopPolicy": ("switching/test_switching_on.py", "test_policy", ""),
    "no warning on import": ("switching/test_switching_on.py", "test_import_warns_of_nothing", ""),
    "policies are gone in 3.16": ("switching/test_switching_on.py", "test_python_without_policies", ""),
    "web.run_app(": ("switching/test_switching_on.py", "test_servers", '"aiohttp": ('),
    "--loop edgeloop:new_event_loop": ("switching/test_switching_on.py", "test_servers", '"uvicorn": ('),
    "gunicorn": ("switching/test_switching_on.py", "test_servers", '"gunicorn with aiohttp": ('),
    "hypercorn": ("switching/test_switching_on.py", "test_servers", '"hypercorn": ('),
    "anyio": ("switching/test_switching_on.py", "test_programs_that_print_their_loop", "anyio_program.py"),
    "pytest_asyncio_loop_factories": ("switching/test_pytest_asyncio.py", "test_pytest_asyncio", ""),
    "IsolatedAsyncioTestCase": ("switching/test_switching_on.py", "test_unittest", "test_with_unittest.py"),
    "trio": ("switching/test_switching_on.py", "test_trio_guest", "trio_guest.py"),
}

BEHAVIOURS = {"no warning on import", "policies are gone in 3.16"}  # of the ways; the others are shown in the page


def functions(path: Path) -> list[tuple[str, str, str]]:
    """Name, docstring and source (with decorators) of each test function in a file, in classes and conditions too."""
    source = path.read_text()
    lines = source.splitlines()
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            text = "\n".join(lines[first - 1 : node.end_lineno])
            found.append((node.name, " ".join((ast.get_docstring(node) or "").split()), text))
    return found


DEMANDED = [function for path in sorted(HERE.glob("test_demand_*.py")) for function in functions(path)]


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_a_test(row: str) -> None:
    assert [name for name, docstring, _ in DEMANDED if row in docstring]


def test_each_test_names_its_row() -> None:
    own = {name for name, _, _ in functions(Path(__file__))}
    without = [name for name, docstring, _ in DEMANDED if name not in own and not any(row in docstring for row in ROWS)]
    assert without == []


@pytest.mark.parametrize("way", SWITCHING_ON)
def test_each_way_to_switch_it_on_has_a_test(way: str) -> None:
    file, name, named = SWITCHING_ON[way]
    assert name in {found for found, _, _ in functions(TESTS / file)}
    assert named in (TESTS / file).read_text()
    if way not in BEHAVIOURS:
        assert any(way in (ROOT / "docs" / page).read_text() for page in ("switching-on.md", "testing.md"))


def foreign(cls: type) -> list[type]:
    """The classes of asyncio that ``cls`` inherits from, but for those that its documentation offers for that."""
    public = {"asyncio.events", "asyncio.protocols", "asyncio.transports"}
    names = {f"Abstract{name}" for name in ("EventLoop", "Server", "EventLoopPolicy")} | {"Handle", "TimerHandle"}
    return [
        base
        for base in cls.__mro__
        if base.__module__.partition(".")[0] == "asyncio"
        and (base.__module__ not in public or (base.__module__ == "asyncio.events" and base.__name__ not in names))
    ]


@pytest.mark.edgeloop_only
def test_no_class_of_the_standard_loop_is_inherited_from() -> None:
    """loops that lean on private stdlib classes break each release: no subclass of BaseEventLoop or of asyncio.sslproto."""
    import edgeloop

    seen: list[type] = []
    for module in pkgutil.walk_packages(edgeloop.__path__, "edgeloop."):
        if module.name == "edgeloop.__main__":
            continue
        for value in vars(import_module(module.name)).values():
            if inspect.isclass(value) and value.__module__.startswith("edgeloop"):
                seen.append(value)
    assert edgeloop.EventLoop in seen
    # asyncio documents DefaultEventLoopPolicy as the class to inherit from. A reader that is an asyncio.StreamReader has to
    # inherit from that; what the two share, tests/package/test_stdlib.py holds against each Python.
    allowed = {"edgeloop.policy", "edgeloop.streams"}
    assert {cls: foreign(cls) for cls in seen if foreign(cls) and cls.__module__ not in allowed} == {}


@pytest.mark.edgeloop_only
def test_figures_can_be_reproduced(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """uvloop #566: README numbers from 2016 that nobody can reproduce; here dated figures, and one command makes them."""
    kept = sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    assert kept
    for page in kept:
        date = re.search(r"\b(\d{4}-\d\d-\d\d)\b.*(?:CPython|PyPy) \d\.\d+\.\d+", page.read_text())
        assert date
        datetime.date.fromisoformat(date[1])
    found = (json.loads(page.with_suffix(".json").read_text())["cells"] for page in kept)
    cells = {cell for of_one in found for cell in of_one}
    assert cells
    output = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks"]
    usage = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    known = set(re.findall(r"^  ([\w-]+) ", usage.stdout, re.MULTILINE))
    assert not {cell for cell in cells if not {cell, cell.partition("-")[0]} & known}  # echo-16k-64 is an echo
    subprocess.run(
        [*command, "callsoon", "--loops", "asyncio,edgeloop", "--rounds", "1", "--seconds", "0.1", "--json", output],
        cwd=ROOT,
        env=environment(pytestconfig, tmp_path),
        capture_output=True,
        timeout=120,
        check=True,
    )
    measured = json.loads(output.read_text())["cells"]["callsoon"]["loops"]
    assert set(measured) == {"asyncio", "edgeloop"}
    assert all(loop["failure"] is None and loop["samples"] for loop in measured.values())
