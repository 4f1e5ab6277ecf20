"""The programs that a page of docs shows with what they print, and one of them run as a reader would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from example_process import environment
from fences import fences


def with_output(page: Path) -> dict[str, tuple[str, str]]:
    """The programs below which a block has what they print: text and output, by the name in the first line."""
    return {fence.name: (fence.text, fence.output) for fence in fences(page) if fence.output is not None}


def run_program(
    config: pytest.Config,
    folder: Path,
    name: str,
    text: str,
    options: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Write the program into the folder and run it there. ``options`` are Python's, ``arguments`` its own."""
    (folder / name).write_text(text)
    return subprocess.run(
        [sys.executable, *options, name, *arguments],
        cwd=folder,
        env=environment(config, folder),
        capture_output=True,
        text=True,
        timeout=60,
    )
