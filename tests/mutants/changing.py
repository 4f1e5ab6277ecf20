"""Puts a mutant in the place of a module that is imported already, in a process that is about to run tests.

A module's functions get the mutant's code, defaults and constants. So nothing is imported again for a mutant, which would take
longer than most tests. The file is changed too: processes that a test starts import the mutant from there.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

SIMPLE = (int, float, str, bytes, bool, tuple, frozenset, type(None))
FLAG_OPTIMIZED = 1  # CO_OPTIMIZED: the code of a function, not of a module or class


def functions_of_edgeloop() -> dict[str, dict[tuple[str, int], list[FunctionType]]]:
    """Import what there is of edgeloop. Return its functions by file, and by name and first line there."""
    for path in sorted(Path("edgeloop").rglob("*.py")):
        if path.stem not in ("__main__", "__init__", "gunicorn"):
            try:
                importlib.import_module(".".join(path.with_suffix("").parts))
            except ImportError:
                continue  # a package that is not installed
    found: dict[str, dict[tuple[str, int], list[FunctionType]]] = {}
    gc.unfreeze()
    for thing in gc.get_objects():
        if type(thing) is FunctionType:
            code = thing.__code__
            found.setdefault(code.co_filename, {}).setdefault((code.co_qualname, code.co_firstlineno), []).append(thing)
    gc.freeze()
    return found


def codes(code: CodeType) -> Iterator[CodeType]:
    """Return the functions' codes within a module's code; what stands inside a function belongs to that."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & FLAG_OPTIMIZED:
                yield constant
            else:
                yield from codes(constant)


@functools.lru_cache(4)
def compiled(path: Path, source: str) -> dict[tuple[str, int], CodeType]:
    return {
        (code.co_qualname, code.co_firstlineno): code for code in codes(compile(source, str(path.resolve()), "exec"))
    }


def change_module(
    path: Path, before: str, after: str, functions: dict[tuple[str, int], list[FunctionType]], outside: bool
) -> bool:
    """Make a module what ``after`` says. Return False if that can't be done without a new import."""
    name = ".".join(path.with_suffix("").parts)
    old, new = compiled(path, before), compiled(path, after)
    for key, code in new.items():
        if old.get(key) != code:
            for function in functions.get(key, ()):
                if function.__code__.co_freevars != code.co_freevars:
                    return False
                function.__code__ = code
    if outside:
        module = sys.modules[name]
        scratch = {key: value for key, value in vars(module).items() if key.startswith("__")}
        exec(compile(after, str(path.resolve()), "exec"), scratch)
        _take_over(vars(module), scratch)
    return True


def _take_over(module: dict[str, Any], scratch: dict[str, Any]) -> None:
    for name, value in scratch.items():
        if name.startswith("__"):
            continue
        old = module.get(name)
        if isinstance(value, FunctionType) and isinstance(old, FunctionType):
            old.__defaults__, old.__kwdefaults__ = value.__defaults__, value.__kwdefaults__
        elif isinstance(value, type) and isinstance(old, type):
            for key, inner in vars(value).items():
                ours = vars(old).get(key)
                if isinstance(inner, FunctionType) and isinstance(ours, FunctionType):
                    ours.__defaults__, ours.__kwdefaults__ = inner.__defaults__, inner.__kwdefaults__
                elif isinstance(inner, SIMPLE) and not key.startswith("__") and ours != inner:
                    setattr(old, key, inner)
        elif isinstance(value, SIMPLE) and (type(value) is not type(old) or value != old):
            for other in [found for key, found in sys.modules.items() if key.startswith("edgeloop")]:
                if name in vars(other) and vars(other)[name] == old:
                    setattr(other, name, value)


@contextmanager
def changed_file(path: Path, after: str) -> Iterator[None]:
    """Within the block the file is the mutant, for new processes. They write no bytecode, whose time counts whole seconds."""
    before = path.read_bytes()
    for cached in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        cached.unlink()
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    path.write_text(after)
    try:
        yield
    finally:
        path.write_bytes(before)
        del os.environ["PYTHONDONTWRITEBYTECODE"]
