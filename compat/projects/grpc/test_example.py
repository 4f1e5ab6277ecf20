"""examples/grpc_app.py: its service, used by its own client."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = str(Path(os.environ["EDGELOOP_COMPAT_ROOT"]) / "examples" / "grpc_app.py")


@pytest.fixture
def port() -> Iterator[str]:
    """A running service; at the end it is stopped, and has to stop well."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        address = re.search(r":(\d+)$", process.stdout.readline())
        assert address
        yield address[1]
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=30)
        assert (process.returncode, complaints) == (0, "")
    finally:
        process.kill()
        process.communicate()


def client(port: str, *words: str) -> list[str]:
    return [sys.executable, SCRIPT, "--port", port, "--client", *words]


def call(port: str, *words: str, lines: str = "") -> str:
    done = subprocess.run(client(port, *words), input=lines, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_post_load_and_read(port: str) -> None:
    assert call(port, "post", "tea", "kettle is on") == "1\n"
    assert call(port, "load", "tea", lines="".join(f"cup {number}\n" for number in range(500))) == "500\n"
    notes = call(port, "notes", "tea").splitlines()
    assert notes == ["1: kettle is on", *(f"{number + 2}: cup {number}" for number in range(500))]
    assert call(port, "notes", "coffee") == ""


def test_watch_until_ctrl_c(port: str) -> None:
    watcher = subprocess.Popen(client(port, "watch", "tea"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert watcher.stdout and watcher.stderr
        assert watcher.stderr.readline() == "watching\n"
        for number in range(3):
            call(port, "post", "tea", f"cup {number}")
            assert watcher.stdout.readline() == f"{number + 1}: cup {number}\n"
        watcher.send_signal(signal.SIGINT)
        said, complaints = watcher.communicate(timeout=30)
        assert (watcher.returncode, said, complaints) == (0, "", "")
    finally:
        watcher.kill()
        watcher.communicate()


def test_a_note_without_a_text_is_refused(port: str) -> None:
    done = subprocess.run(client(port, "post", "tea"), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "INVALID_ARGUMENT: a note needs a text\n")
