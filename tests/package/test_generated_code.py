"""What Cython makes of an assignment to an attribute: the new value is stored before the old one is let go.

Before 3.3.1 it was the other way round, and what ran at the old value's end found an object that was no longer there.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only

SETUP = ROOT / "setup.py"
SOURCE = """
class Holder:
    def __init__(self, held):
        self.held = held
        self.items = []

    def replace(self, held):
        self.held = held

    def drop(self):
        self.held = None
        self.items = []
"""
TYPES = """
cdef class Holder:
    cdef public object held
    cdef public list items
"""
# To make a list may run a collection, on Python 3.11, and hence any code: one that this adds to has moved by then.
COPIES = re.compile(r"__Pyx_PyList_GetSlice\(__pyx_v_\w+->.*|PyNumber_Add\(.*__pyx_v_\w+->.*")
LETS_GO_FIRST = re.compile(r"__Pyx_X?DECREF\(+(?:\(PyObject ?\*\))?\s*__pyx_v_\w+->")


def test_a_new_value_is_stored_before_the_old_one_is_let_go(tmp_path: Path) -> None:
    pytest.importorskip("Cython", reason="a wheel was installed: nothing was compiled here")
    (tmp_path / "holder.py").write_text(SOURCE)
    (tmp_path / "holder.pxd").write_text(TYPES)
    subprocess.run([sys.executable, "-m", "cython", "-3", "holder.py"], cwd=tmp_path, check=True)
    code = (tmp_path / "holder.c").read_text()
    assert code.count("__Pyx_DECREF_SET(__pyx_v_self->held") >= 4  # three methods, and the attribute as Python sees it
    assert LETS_GO_FIRST.findall(code) == []


def test_the_package_s_own_code_stores_before_it_lets_go() -> None:
    made = list(Path("build/cython").rglob("*.c"))
    if not made:
        pytest.skip("nothing was compiled here")
    assert {path.name: LETS_GO_FIRST.findall(path.read_text()) for path in made} == {path.name: [] for path in made}


def test_the_rooms_own_code_takes_no_part_of_a_list_that_others_reach() -> None:
    made = list(Path("build/cython").rglob("*.c"))
    if not made:
        pytest.skip("nothing was compiled here")
    assert {path.name: COPIES.findall(path.read_text()) for path in made} == {path.name: [] for path in made}


def test_an_except_clause_frees_a_traceback_only_if_there_was_memory_for_one() -> None:
    made = list(Path("build/cython").rglob("*.c"))
    if not made:
        pytest.skip("nothing was compiled here")
    wrong: list[str] = []
    clauses = 0
    for path in made:
        for function in re.findall(r"^static [^\n]*\{\n.*?^\}\n", path.read_text(), re.M | re.S):
            for traceback in set(re.findall(r"GetException\(&\w+, &\w+, &(\w+)\)", function)):
                clauses += 1
                wrong += [path.name] if f"_DECREF({traceback})" in function else []
    assert clauses > 50
    assert wrong == []


@pytest.mark.parametrize("version", ["0.29.37", "3.0.12", "3.2.4", "3.3.0"])
def test_an_older_cython_is_refused(tmp_path: Path, version: str) -> None:
    if not SETUP.exists():
        pytest.skip("this is no source distribution")
    (tmp_path / "Cython").mkdir()
    (tmp_path / "Cython" / "__init__.py").write_text(f"__version__ = {version!r}\n")
    (tmp_path / "Cython" / "Build.py").write_text("def cythonize(*args, **keywords): raise SystemExit('it was used')\n")
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=SETUP.parent,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "3.3.1" in done.stderr
    assert version in done.stderr


class Last:
    """Looks at an object when it ends."""

    def __init__(self, owner: Any, name: str, seen: list[Any]) -> None:
        self.owner, self.name, self.seen = owner, name, seen

    def __call__(self) -> None:
        pass

    def __del__(self) -> None:
        self.seen.append(getattr(self.owner, self.name, None))  # in the pure edition it is gone by then


@pytest.mark.parametrize("name", ["_callback", "_args", "_context", "_source_traceback", "_repr"])
def test_what_runs_at_an_attributes_end_finds_the_new_value(loop: asyncio.AbstractEventLoop, name: str) -> None:
    handles = importlib.import_module("edgeloop.core.handles")
    seen: list[Any] = []
    for _ in range(50):
        handle = handles.Handle.__new__(handles.Handle)
        for deletes in (False, True):
            last = Last(handle, name, seen)
            setattr(handle, name, (last,) if name == "_args" else last)
            del last
            if deletes:
                delattr(handle, name)
            else:
                setattr(handle, name, None)
    assert {value for value in seen if value is not None} == set()
