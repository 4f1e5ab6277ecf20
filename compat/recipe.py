"""What a recipe says: ``projects/<name>/recipe.toml``, described in README.md."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .expectations import covers

PROJECTS = Path(__file__).with_name("projects")


@dataclass(frozen=True)
class Recipe:
    """One project: what is fetched, what it needs, what is run, and what is left out and why. See README.md."""

    name: str
    package: str = ""
    version: str = ""
    sha256: str = ""
    extras: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()
    take: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    timeout: float = 60.0
    environment: dict[str, str] = field(default_factory=dict)
    pythons: str = ""
    page: str = ""
    in_children: bool = False
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the recipe, its expectations and the tests of our own stand."""
        return PROJECTS / self.name

    @property
    def own_tests(self) -> bool:
        """Whether the recipe has tests of our own."""
        return any(self.folder.glob("test_*.py"))

    def runs_on(self, version: tuple[int, int]) -> bool:
        """Whether the recipe is for this Python version."""
        return covers(self.pythons, version)


def load(name: str) -> Recipe:
    """The recipe called ``name``. LookupError if there is none, ValueError if there is something wrong with it."""
    path = PROJECTS / name / "recipe.toml"
    if not path.exists():
        raise LookupError(f"there is no recipe called {name!r}; there are: {', '.join(names())}")
    said = tomllib.loads(path.read_text())
    known = {one.name for one in fields(Recipe)} - {"name"}
    if unknown := sorted(said.keys() - known):
        raise ValueError(f"{path}: unknown keys {unknown}")
    if said.get("tests") and not (said.get("package") and said.get("version") and said.get("sha256")):
        raise ValueError(f"{path}: tests of a project need its package, version and sha256")
    if nameless := [pattern for pattern, why in said.get("left_out", {}).items() if not why.strip()]:
        raise ValueError(f"{path}: left out without a reason: {nameless}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
    recipe = Recipe(name=name, **values)
    if not recipe.tests and not recipe.own_tests:
        raise ValueError(f"{path}: neither tests of the project nor tests of our own")
    return recipe


def names() -> list[str]:
    """Every recipe there is."""
    return sorted(path.parent.name for path in PROJECTS.glob("*/recipe.toml"))
