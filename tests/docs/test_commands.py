"""The commands of docs/reference/commands.md, and the servers of docs/start.md and docs/containers.md."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_process import environment, eventually
from fences import fences
from page_programs import run_program
from repository import ROOT
from switching_on_page import program

import edgeloop

pytestmark = pytest.mark.edgeloop_only

DOCS = ROOT / "docs"
COMMANDS = [command for fence in fences(DOCS / "reference" / "commands.md") for command in fence.commands]
PRINTS_ITS_ARGUMENTS = """
import asyncio, sys
async def main(): print(type(asyncio.get_running_loop()).__name__, *sys.argv[1:])
asyncio.run(main())
"""
PRINTED = {
    "python -m edgeloop program.py one two": "EventLoop one two\n",
    "python -m edgeloop -m package.module": "EventLoop\n",
    'python -m edgeloop -c "import asyncio; asyncio.run(asyncio.sleep(0))"': "",
    "python -m edgeloop --watch 0.1 program.py": "EventLoop\n",
    "python -m edgeloop --version": f"edgeloop {edgeloop.__version__} ({edgeloop.EDITION})\n",
}


@pytest.fixture(autouse=True)
def own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


def run(command: str, folder: Path, config: pytest.Config) -> str:
    start, *arguments = shlex.split(command)
    assert start == "python"
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(config, folder),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("command", PRINTED)
def test_a_command_of_the_reference_runs(command: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    assert command in COMMANDS
    (tmp_path / "package").mkdir()
    for name in ("program.py", "package/module.py"):
        (tmp_path / name).write_text(PRINTS_ITS_ARGUMENTS)
    assert run(command, tmp_path, pytestconfig) == PRINTED[command]


def test_ps_and_top_list_a_loop_that_is_shared(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    loop = edgeloop.new_event_loop()
    try:
        edgeloop.share(loop)
        assert {"python -m edgeloop ps --json", "python -m edgeloop top --plain -n 1"} < set(COMMANDS)
        # Those of other processes may be there too, in /dev/shm.
        seen = json.loads(run("python -m edgeloop ps --json", tmp_path, pytestconfig))
        assert os.getpid() in {row["pid"] for row in seen}
        assert f"\n{os.getpid()} " in run("python -m edgeloop top --plain -n 1", tmp_path, pytestconfig)
    finally:
        edgeloop.unshare(loop)
        loop.close()


@contextlib.contextmanager
def served(page: Path, folder: Path, config: pytest.Config) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """The page's server.py as a process, on a port of the kernel's choice, and a client."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (folder / "server.py").write_text(program("server.py", page).replace("8080", str(port)))
    process = subprocess.Popen(
        [sys.executable, "server.py"],
        cwd=folder,
        env=environment(config, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    clients: list[socket.socket] = []

    def connects() -> bool:
        try:
            clients.append(socket.create_connection(("127.0.0.1", port), 60))
        except ConnectionRefusedError:
            return process.poll() is not None
        return True

    try:
        assert eventually(connects) and clients
        with clients[0]:
            yield process, clients[0]
    finally:
        process.kill()
        process.communicate()


def test_the_first_server_greets(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    with served(DOCS / "start.md", tmp_path, pytestconfig) as (_, client):
        client.sendall(b"world\n")
        answer = client.makefile().read()
    (shown,) = [fence for fence in fences(DOCS / "start.md") if fence.text.startswith("$ python server.py &\n")]
    assert shown.commands == ["python server.py &", "echo world | nc 127.0.0.1 8080"]  # a process and a socket here
    assert shown.text.endswith(f" 8080\n{answer}")


def test_the_way_to_check_it_prints_what_stands_below_it(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    (shown,) = [fence for fence in fences(DOCS / "start.md") if fence.name == "check.py"]
    done = run_program(pytestconfig, tmp_path, "check.py", shown.text)
    assert shown.output == done.stdout.replace(edgeloop.EDITION, "compiled", 1)


def test_the_server_of_the_container_drains(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    with served(DOCS / "containers.md", tmp_path, pytestconfig) as (process, client):
        assert client.recv(100) == b"hello\n"
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert out.startswith("serving\nserved ")
