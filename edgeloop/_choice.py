"""What the edition is chosen by: a word in the environment, and which modules are compiled.

setup.py runs this file too, so it imports nothing of the package.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

YES = {"1", "true", "yes", "on"}
NO = {"", "0", "false", "no", "off"}


def says_yes(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Return True if the variable ``name`` says yes, False if it says no or nothing. Raise ValueError if it says neither."""
    value = environment.get(name, "")
    word = value.strip().lower()
    if word in YES:
        return True
    if word in NO:
        return False
    raise ValueError(
        f"{name}={value!r} in the environment says neither yes ({', '.join(sorted(YES))}) "
        f"nor no ({', '.join(sorted(NO - {''}))}, or nothing)"
    )


def is_pure_asked_for() -> bool:
    """Return True if ``EDGELOOP_PURE`` asks for the pure edition. Raise ValueError if it says neither yes nor no.

    Whoever runs PyPy asks for it too: its compiler makes the .py files fast, and what Cython makes is slow there.
    """
    return says_yes("EDGELOOP_PURE") or sys.implementation.name != "cpython"


def compiled_modules(package: str | os.PathLike[str]) -> list[str]:
    """Return the names, below the folder ``package``, of the modules that are compiled: those with types for Cython.

    These are a .pyx file, or a .py file with a .pxd file of its name beside it. A package's ``__init__.pxd`` only makes it one
    for Cython.
    """
    found = []
    with os.scandir(package) as entries:
        listed = [(entry.name, entry.is_dir()) for entry in entries]
    files = {name for name, is_folder in listed if not is_folder}
    for name in files:
        stem, _, suffix = name.rpartition(".")
        if suffix == "pyx" or (suffix == "pxd" and stem != "__init__" and f"{stem}.py" in files):
            found.append(stem)
    for name, is_folder in listed:
        if is_folder and name != "__pycache__":
            found.extend(f"{name}.{module}" for module in compiled_modules(os.path.join(package, name)))
    return sorted(set(found))
