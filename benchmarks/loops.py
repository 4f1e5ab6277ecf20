"""The event loops that are compared, and how each one is switched on.

Everything here runs inside the process that is measured; ``python -m benchmarks.loops NAME`` says whether the loop can
be had in this interpreter (its version on standard output, exit code 0) or why not (exit code 1).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Factory = Callable[[], asyncio.AbstractEventLoop]

#: The server in C is one of the loops in every table, but no Python is involved in it.
LIMIT = "c"

#: On PyPy edgeloop is the pure edition, whose code PyPy compiles.
ONLY_PURE = sys.implementation.name != "cpython"

#: What peers.py left out of the environment that it made, and why: a file in that environment's folder.
MISSING = "missing.json"


class UnavailableError(Exception):
    """The loop is not installed here, or not in the edition that was asked for. Its text is the reason."""


@dataclass(frozen=True)
class Loop:
    """How one loop is made.

    ``package`` is what must be importable, None for the standard library. ``over`` names the loop underneath, for
    aiofastnet, which replaces the transports of another loop. ``environment`` is added to the process's own.
    """

    name: str
    package: str | None
    over: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def factory(self) -> Factory:
        """What makes the loop. Raises UnavailableError."""
        if self.package is None:
            return asyncio.SelectorEventLoop
        if self.over is not None:
            # Not for the other loops' processes: what finds it may use it.
            sys.path.append(str(apart(self.package, Path(sys.prefix))))
        module = imported(self.package)
        if self.package == "edgeloop":
            check_edition(module, "pure" if self.environment or ONLY_PURE else "compiled")
        if self.over is not None:
            made: Factory = module.loop_factory(LOOPS[self.over].factory())
            return made
        new_event_loop: Factory = module.new_event_loop
        return new_event_loop

    def version(self) -> str:
        """The version of the package, with the loop underneath if there is one. Raises UnavailableError."""
        if self.package is None:
            return platform.python_version()
        try:
            version = importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:  # imported from a source tree
            version = str(getattr(imported(self.package), "__version__", "unknown"))
        return version if self.over is None else f"{version} over {self.over} {LOOPS[self.over].version()}"


def imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UnavailableError(left_out().get(package, f"not importable: {error}")) from error


def apart(package: str, folder: Path) -> Path:
    """Where an environment keeps a package that only its own rows shall find."""
    return folder / "apart" / package


def left_out() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(Path(sys.prefix, MISSING).read_text())
    except OSError:  # not an environment of peers.py
        return {}
    return found


def check_edition(module: Any, wanted: str) -> None:
    """Numbers of one edition under the name of the other would be worse than none."""
    edition = getattr(module, "EDITION", "unknown")
    if edition != wanted:
        raise UnavailableError(f"this is the {edition} edition, not the {wanted} one")


def factory_or_exit(name: str) -> Factory:
    """What makes the loop of that name. The program ends where that can't be had, with the reason."""
    try:
        return LOOPS[name].factory()
    except UnavailableError as reason:
        sys.exit(f"{name}: {reason}")


LOOPS: dict[str, Loop] = {
    loop.name: loop
    for loop in (
        Loop("asyncio", None),
        Loop("uvloop", "uvloop"),
        Loop("edgeloop", "edgeloop"),
        Loop("edgeloop-pure", "edgeloop", environment={"EDGELOOP_PURE": "1"}),
        Loop("rloop", "rloop"),
        Loop("zloop", "zloop"),
        Loop("blazio", "blazio"),
        Loop("veloxloop", "veloxloop"),
        Loop("rsloop", "rsloop"),
        Loop("zuvloop", "zuvloop"),
        Loop("aiofastnet", "aiofastnet", over="asyncio"),
        Loop("aiofastnet+uvloop", "aiofastnet", over="uvloop"),
        Loop("aiofastnet+edgeloop", "aiofastnet", over="edgeloop"),
    )
}

#: In the order of the tables.
NAMES = (LIMIT, *LOOPS)


def environment(name: str) -> dict[str, str]:
    """The environment of a process that runs the loop: ours, without our own choice of edition."""
    inherited = {key: value for key, value in os.environ.items() if key != "EDGELOOP_PURE"}
    return inherited if name == LIMIT else {**inherited, **LOOPS[name].environment}


def packages() -> str:
    """The versions of what the cells of HTTP are made with, as far as they are installed."""
    found = []
    for name in ("aiohttp", "fastapi", "uvicorn", "httptools"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def main() -> int:
    loop = LOOPS[sys.argv[1]]
    try:
        loop.factory()().close()
        print(loop.version())
    except UnavailableError as reason:
        print(reason, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
