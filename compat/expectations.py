"""The tests that no foreign loop can pass, from an expectations file, each with the line of the test that shows it.

An entry is a table named after the test, ``["module.Class".test]`` of a unittest suite and ``["file.py::test"]`` of a
pytest one::

    ["test_events.EPollEventLoopTests".test_internal_fds]
    line = "self.assertEqual(1, loop._internal_fds)"
    why = "counts the standard loop's own descriptors"
    versions = "3.11-3.13"       # optional, "3.14" or "3.14-" too; else every version
    editions = ["pure"]          # optional; else both

``line`` has to stand in the source of the test or of its class' ``setUp``/``tearDown``, as the running interpreter has
it (for a pytest suite: in the test's file): an entry whose test or line is gone is stale, and a stale entry fails the
run.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KEYS = {"line", "why", "versions", "editions"}


@dataclass(frozen=True)
class Expectation:
    """One entry: ``test`` is ``module.Class.test``, or pytest's node id."""

    test: str
    line: str
    why: str
    versions: str = ""
    editions: tuple[str, ...] = ()

    def applies(self, version: tuple[int, int], edition: str | None) -> bool:
        """Whether the entry is in force for this Python version and edition (None: in any edition)."""
        return covers(self.versions, version) and (edition is None or not self.editions or edition in self.editions)

    def stale(self, source: str | None) -> str | None:
        """What is wrong with the entry, given the source of its test (None: there is no such test), or None."""
        if source is None:
            return f"{self.test}: no such test on this version"
        if self.line not in " ".join(source.split()):
            return f"{self.test}: its source does not contain {self.line!r}"
        return None


def load(path: Path) -> list[Expectation]:
    """Read an expectations file. Raises ValueError for an entry that is incomplete or has unknown keys."""
    entries = []
    for name, value in tomllib.loads(path.read_text()).items():
        if "::" in name:
            entries.append(_entry(name, value))
        else:
            entries.extend(_entry(f"{name}.{test}", fields) for test, fields in value.items())
    return entries


def _entry(test: str, fields: dict[str, Any]) -> Expectation:
    if "::" not in test and test.count(".") != 2:
        raise ValueError(f"{test}: the name should be module.Class.test, or file.py::test")
    if not fields.get("line") or not fields.get("why"):
        raise ValueError(f"{test}: an entry needs the line of the test that shows it, and why")
    if unknown := set(fields) - _KEYS:
        raise ValueError(f"{test}: unknown keys {sorted(unknown)}")
    line = " ".join(fields["line"].split())
    return Expectation(test, line, fields["why"], fields.get("versions", ""), tuple(fields.get("editions", ())))


def covers(versions: str, version: tuple[int, int]) -> bool:
    """Whether ``versions`` ("", "3.11", "3.11-3.13", "3.14-" or "-3.12") includes ``version``."""
    if not versions:
        return True
    first, dash, last = versions.partition("-")
    if not dash:
        last = first
    return (not first or _parse(first) <= version) and (not last or version <= _parse(last))


def _parse(version: str) -> tuple[int, int]:
    major, minor = version.strip().split(".")
    return int(major), int(minor)
