"""``python -m edgeloop top`` as a person sees it, in a pane of tmux."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_process import environment
from repository import ROOT
from tmux_pane import Pane, needs_tmux, pane

import edgeloop

pytestmark = [pytest.mark.edgeloop_only, needs_tmux]

pytest.importorskip("rich", reason="the extra edgeloop[top]")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of this process, whose file only this test's top finds."""
    folder = tmp_path / "run"
    folder.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    loop = edgeloop.new_event_loop()
    try:
        edgeloop.share(loop)
        loop.run_until_complete(asyncio.sleep(0))
        yield loop
    finally:
        loop.close()


@pytest.fixture
def top(shared: asyncio.AbstractEventLoop, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pane]:
    folder = os.environ["XDG_RUNTIME_DIR"]
    env = {**environment(request.config, tmp_path), "XDG_RUNTIME_DIR": folder, "PYTHONPATH": str(ROOT)}
    with pane(tmp_path) as shown:
        shown.start([sys.executable, "-m", "edgeloop", "top", str(os.getpid()), "-d", "0.2"], env)
        yield shown


def test_the_keys_sort_open_print_and_quit(top: Pane) -> None:
    top.shows("descriptors")  # of the only loop
    top.press("Escape")
    assert str(os.getpid()) in top.shows("loops: 1, by load")
    for key, order in (("c", "connections"), ("x", "longest"), ("p", "process"), ("l", "load")):
        top.press(key)
        top.shows(f"by {order}")
    top.press("h")
    top.shows("select a loop")
    top.press("Space", "Enter")  # at once: none is lost
    top.shows("descriptors")
    top.press("t")
    top.shows(f"tasks of {os.getpid()}")
    top.press("Space", "s")
    top.shows(f"stack of {os.getpid()}")
    top.press("Space")
    top.shows("descriptors")
    top.press("Escape")
    top.shows("h: keys")
    top.press("q")
    top.shows("ended with 0")


def test_a_narrow_terminal_has_fewer_columns(top: Pane) -> None:
    top.shows("descriptors")
    top.press("Escape")
    assert "LONGEST" in top.shows("COMMAND")
    top.tell("resize-window", "-x", "80", "-y", "20")
    screen = top.shows("COMMAND", without="LONGEST")
    assert all(len(line) <= 80 for line in screen.splitlines())
