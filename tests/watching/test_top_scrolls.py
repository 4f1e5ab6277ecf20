"""``python -m edgeloop top`` where there is more to show than the terminal has lines, in a pane of tmux."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_process import environment
from repository import ROOT
from tmux_pane import Pane, needs_tmux, pane

import edgeloop
from edgeloop.watching.scrolling import Window

pytestmark = pytest.mark.edgeloop_only

LOOPS = 12


def test_a_window_shows_no_line_that_is_not_there() -> None:
    window = Window()
    assert window.shown(3, 10) == range(3)
    assert window.shown(0, 10) == range(0)
    assert window.move("page down", 10)
    assert window.shown(3, 10) == range(3)


def test_a_window_moves_by_lines_by_screens_and_to_both_ends() -> None:
    window = Window()
    seen = []
    for key in ("j", "page down", "k", "end", "page up", "home", "k"):
        assert window.move(key, 10)
        seen.append(window.shown(35, 10).start)
    assert seen == [1, 11, 10, 25, 15, 0, 0]
    assert not window.move("x", 10)
    assert window.shown(35, 10) == range(10)


def test_a_window_keeps_the_chosen_line_in_sight() -> None:
    window = Window()
    assert [window.around(place, 35, 10).start for place in (0, 9, 10, 34, 30, 24, 20)] == [0, 0, 1, 25, 25, 24, 20]
    assert window.around(4, 5, 10) == range(5)


@pytest.fixture
def loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[asyncio.AbstractEventLoop]]:
    """Loops of this process, whose files only this test's top finds."""
    folder = tmp_path / "run"
    folder.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    made: list[asyncio.AbstractEventLoop] = []
    try:
        for _ in range(LOOPS):
            made.append(edgeloop.new_event_loop())
            edgeloop.share(made[-1])
        yield made
    finally:
        for loop in made:
            loop.close()


@pytest.fixture
def top(loops: list[asyncio.AbstractEventLoop], request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pane]:
    pytest.importorskip("rich", reason="the extra edgeloop[top]")
    folder = os.environ["XDG_RUNTIME_DIR"]
    env = {**environment(request.config, tmp_path), "XDG_RUNTIME_DIR": folder, "PYTHONPATH": str(ROOT)}
    with pane(tmp_path, lines=7) as shown:  # four loops
        shown.start([sys.executable, "-m", "edgeloop", "top", str(os.getpid()), "-d", "0.2"], env)
        shown.shows("lines 1 to 5 of 1")  # of the loop that has the highest load
        shown.press("Escape", "p")
        shown.shows(f"loops: {LOOPS} (")
        shown.press("Home")
        shown.shows("by process")
        yield shown


def numbers(screen: str) -> list[int]:
    """The numbers of the loops on a screen, in their order."""
    return [int(found[1]) for found in re.finditer(rf"^ *{os.getpid()} +(\d+) ", screen, re.MULTILINE)]


@needs_tmux
def test_the_table_follows_the_loop_that_is_chosen(top: Pane) -> None:
    first = numbers(top.shows("(1 to 4)"))[0]
    top.press("End")
    assert numbers(top.shows("(9 to 12)")) == list(range(first + 8, first + 12))
    top.press("Up")
    top.press("PageUp")
    top.shows("(7 to 10)")
    top.press("Home")
    top.shows("(1 to 4)")
    top.press("Down", "Down", "Down", "Down", "Down")
    assert numbers(top.shows("(3 to 6)")) == list(range(first + 2, first + 6))
    top.press("PageDown")
    top.shows("(7 to 10)")
    top.press("q")
    top.shows("ended with 0")


@needs_tmux
def test_a_page_is_scrolled_and_any_other_key_goes_back(top: Pane) -> None:
    top.press("h")
    top.shows("keys: lines 1 to 5 of 6")
    top.press("End")
    assert "quit" in top.shows("lines 2 to 6 of 6")
    top.press("Up")
    top.shows("lines 1 to 5 of 6")
    top.press("PageUp", "x")
    top.shows("(1 to 4)")
    top.press("Enter")
    top.shows("lines 1 to 5 of 1")
    top.press("PageDown")
    top.shows("lines 6 to 10 of 1")
    top.press("j")  # the next loop, from its top
    top.shows("lines 1 to 5 of 1")
