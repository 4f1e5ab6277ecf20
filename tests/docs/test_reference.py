"""docs/reference: every public name is there, what is named exists and is documented, and each section has a program."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fences import FENCE
from repository import ROOT

import edgeloop
from edgeloop.serving.server import Server

pytestmark = pytest.mark.edgeloop_only

PAGES = {path.name: path.read_text() for path in sorted(ROOT.glob("docs/reference/*.md"))}
DIRECTIVES = sorted({name for text in PAGES.values() for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE)})
#: Words with a section of their own, since they have no docstring.
CONSTANTS = {"EDITION", "__version__"}


def found(name: str) -> Any:
    """The object of a directive."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            value = getattr(value, part)
        return value
    raise LookupError(name)


def added(ours: type, theirs: type) -> Iterator[str]:
    """The public methods that asyncio's class has not."""
    for name, value in inspect.getmembers(ours):
        if not name.startswith("_") and callable(value) and not hasattr(theirs, name):
            yield name


@pytest.mark.parametrize("name", sorted(set(edgeloop.__all__) - CONSTANTS))
def test_each_public_name_is_generated_from_its_docstring(name: str) -> None:
    assert f"edgeloop.{name}" in DIRECTIVES


def test_what_has_no_docstring_is_described() -> None:
    assert all(f"`edgeloop.{name}`" in PAGES["switching.md"] for name in [*CONSTANTS, "EventLoopPolicy"])


@pytest.mark.parametrize("name", DIRECTIVES)
def test_what_a_page_names_exists_and_has_a_docstring(name: str) -> None:
    if name.startswith("edgeloop.metrics."):
        pytest.importorskip("prometheus_client", reason="has no release for this Python")
        pytest.importorskip("opentelemetry", reason="has no release for this Python")
    assert inspect.getdoc(found(name))


def test_each_method_that_asyncio_s_loops_have_not_is_generated() -> None:
    # The class with all its methods stands there too; these come first.
    names = set(added(edgeloop.EventLoop, asyncio.SelectorEventLoop))
    assert {f"edgeloop.EventLoop.{name}" for name in names} <= set(DIRECTIVES)


def test_each_method_that_asyncio_s_servers_have_not_is_documented() -> None:
    names = set(added(Server, asyncio.base_events.Server))
    assert {"drain", "set_limits", "status", "suspend"} < names
    assert all(inspect.getdoc(getattr(Server, name)) for name in names)
    index = PAGES["index.md"]
    assert {name for name in names if f"`{name}`" not in index} <= {"close_clients", "abort_clients"}


@pytest.mark.parametrize("name", sorted(set(edgeloop.__all__) - CONSTANTS))
def test_a_function_s_docstring_names_each_argument_and_what_is_raised(name: str) -> None:
    function = getattr(edgeloop, name)
    if inspect.isclass(function):
        return
    text = inspect.getdoc(function) or ""
    assert [
        word for word in inspect.signature(function).parameters if f"``{word}" not in text
    ] == [] or name == "notify"
    assert name == "install" or "Raise" in text


@pytest.mark.parametrize("page", sorted(set(PAGES) - {"index.md", "commands.md"}))
def test_each_section_of_the_reference_has_a_program(page: str) -> None:
    without = [
        section.partition("\n")[0]
        for section in PAGES[page].split("\n## ")[1:]
        if "\n::: " in section and not any(language == "python" for _, language, _, _ in FENCE.findall(section))
    ]
    assert without == (["Every method"] if page == "event-loop.md" else [])


def test_the_examples_in_docstrings_run() -> None:
    async def main() -> None:
        pass

    ran = 0
    for name in edgeloop.__all__:
        for block in re.findall(r"(?:^|\n\n)((?:    .+\n?)+)", inspect.getdoc(getattr(edgeloop, name)) or ""):
            exec(inspect.cleandoc(block), {"edgeloop": edgeloop, "main": main})
            ran += 1
    exec(inspect.cleandoc("\n".join(re.findall(r"^    (.+)$", edgeloop.__doc__ or "", re.MULTILINE))), {"main": main})
    assert ran >= 1
