"""No class of the compiled modules crashes the interpreter, whatever Python asks of an object that was never initialised."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import edgeloop
from edgeloop._choice import compiled_modules
from edgeloop._edition import HOME

pytestmark = pytest.mark.edgeloop_only

CLASSES = [
    (f"edgeloop.{module}", name)
    for module in compiled_modules(HOME)
    if module in ("handles", "schedule", "tasks", "kernel_timers", "kernel", "reactor", "watch")
    for name, cls in sorted(vars(importlib.import_module(f"edgeloop.{module}")).items())
    if inspect.isclass(cls) and cls.__module__ == f"edgeloop.{module}"
]


@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_an_object_without_its_initialiser_can_be_asked_anything(module: str, name: str) -> None:
    if edgeloop.EDITION == "pure":
        pytest.skip("Python objects don't crash")
    script = str(Path(__file__).parent / "bare_fuzz.py")
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", script, module, name],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
