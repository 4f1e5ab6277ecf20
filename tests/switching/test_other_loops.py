"""What is said where edgeloop was asked for, by ``python -m edgeloop`` or ``install``, and another loop runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from example_process import environment
from switching_on_page import needs_policies

pytestmark = pytest.mark.edgeloop_only

STANDARD = "asyncio.unix_events._UnixSelectorEventLoop"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """``run("-m", "edgeloop", "program.py", **files)``: the files are written, with ``.py`` after their names, and run."""

    def run(*arguments: str, **files: str) -> subprocess.CompletedProcess[str]:
        for name, source in files.items():
            (tmp_path / f"{name}.py").write_text(source)
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment(request.config, tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


# The remedy that is named has to be the right one, and the process has to end as it would have.
PROGRAMS = {
    "a loop factory": (
        "asyncio.run(main(), loop_factory=asyncio.SelectorEventLoop)"
        if sys.version_info >= (3, 12)
        else "with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:\n    runner.run(main())",
        "loop_factory=edgeloop.new_event_loop",
    ),
    "a loop by hand": (
        "loop = asyncio.SelectorEventLoop()\nloop.run_until_complete(main())\nloop.close()",
        "loop_factory=edgeloop.new_event_loop",
    ),
    "anyio": (
        'import anyio\nanyio.run(main, backend_options={"loop_factory": asyncio.SelectorEventLoop})',
        'backend_options={"loop_factory": edgeloop.new_event_loop}',
    ),
    "aiohttp": (
        "from aiohttp import web\nweb.run_app(stopping(), loop=asyncio.SelectorEventLoop(), print=None)",
        "web.run_app(app, loop=edgeloop.new_event_loop())",
    ),
    "uvloop": ("import uvloop\nuvloop.run(main())", "edgeloop.run(main())"),
}

START = """
import asyncio, signal, sys

async def main():
    print(type(asyncio.get_running_loop()).__module__)

async def stopping():
    from aiohttp import web
    await main()
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
    return web.Application()
"""

# What uvloop.run does; the package itself need not be here.
UVLOOP = """
import asyncio

class Loop(asyncio.SelectorEventLoop):
    pass

def run(main):
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)
"""


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_ran_on_another_loop_is_told_so_at_its_end(run: Run, program: str) -> None:
    source, remedy = PROGRAMS[program]
    done = run("-m", "edgeloop", "program.py", program=f"{START}\n{source}\nsys.exit(3)", uvloop=UVLOOP)
    assert done.returncode == 3
    assert done.stdout in ("asyncio.unix_events\n", "uvloop\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("python -m edgeloop: ")
    assert remedy in line
    assert (STANDARD if program != "uvloop" else "uvloop.Loop") in line


QUIET = {
    "no loop": "print(1)",
    "ours": "asyncio.run(main())",
    "ours and another": (
        "loop = asyncio.SelectorEventLoop()\nloop.run_until_complete(main())\nloop.close()\nasyncio.run(main())"
    ),
    "another that is only made": "asyncio.SelectorEventLoop().close()",
    "a child that is no server's": (
        "import subprocess\nsubprocess.run([sys.executable, '-c', 'import asyncio; asyncio.run(asyncio.sleep(0))'])"
    ),
    "a loop derived from ours": (
        "import edgeloop\nclass Loop(edgeloop.EventLoop):\n    pass\n"
        "with asyncio.Runner(loop_factory=Loop) as runner:\n    runner.run(main())"
    ),
}


@pytest.mark.parametrize("program", QUIET)
def test_nothing_is_said_of_a_program_that_ran_on_edgeloop_or_on_none(run: Run, program: str) -> None:
    source = START + QUIET[program]
    done = run("-W", "error", "-m", "edgeloop", "program.py", program=source)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("-W", "error", "program.py", program=f"import edgeloop\nedgeloop.install()\n{source}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_that_was_forked_leaves_it_to_its_parent(run: Run) -> None:
    program = f"""{START}
import os
loop = asyncio.SelectorEventLoop()
loop.run_until_complete(main())
loop.close()
child = os.fork()
if not child:
    sys.exit()
os.waitpid(child, 0)
"""
    done = run("-m", "edgeloop", "program.py", program=program)
    assert done.stderr.count("python -m edgeloop: ") == 1


@needs_policies
def test_an_install_that_was_taken_back_is_not_missed(run: Run) -> None:
    program = f"""{START}
import edgeloop
edgeloop.install()
asyncio.set_event_loop_policy(None)
asyncio.run(main())
"""
    done = run("-W", "error", "-W", "ignore::DeprecationWarning", "program.py", program=program)
    assert (done.returncode, done.stderr) == (0, "")


def test_install_says_at_the_end_that_only_another_loop_ran(run: Run) -> None:
    program = f"{START}\nimport edgeloop\nedgeloop.install()\n{PROGRAMS['uvloop'][0]}\nsys.exit(3)"
    done = run("program.py", program=program, uvloop=UVLOOP)
    assert (done.returncode, done.stdout) == (3, "uvloop\n")
    assert "RuntimeWarning: edgeloop.install() was called: uvloop.Loop runs here, and not edgeloop" in done.stderr
    assert "edgeloop.run(main())" in done.stderr


def test_a_program_that_installs_itself_is_told_once_under_the_command(run: Run) -> None:
    program = f"{START}\nimport edgeloop\nedgeloop.install()\nedgeloop.install()\n{PROGRAMS['uvloop'][0]}"
    done = run("-m", "edgeloop", "program.py", program=program, uvloop=UVLOOP)
    assert len(done.stderr.splitlines()) == 1


APP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
"""

UVICORN = ["uvicorn", "--lifespan", "off", "--port", "0", "app:app"]

# A server's command, and the remedy that is named; none where it serves on edgeloop.
SERVERS = {
    "uvicorn": (UVICORN, "uvicorn --loop edgeloop:new_event_loop"),
    "uvicorn with its choice named": ([*UVICORN, "--loop", "asyncio"], "uvicorn --loop edgeloop:new_event_loop"),
    "uvicorn on ours": ([*UVICORN, "--loop", "edgeloop:new_event_loop"], ""),
    "uvicorn with workers": ([*UVICORN, "--workers", "2"], "uvicorn --loop edgeloop:new_event_loop"),
    "uvicorn with workers on ours": ([*UVICORN, "--workers", "2", "--loop", "edgeloop:new_event_loop"], ""),
    "hypercorn in this process": (["hypercorn", "--workers", "0", "--bind", "127.0.0.1:0", "app:app"], ""),
    "hypercorn with workers": (["hypercorn", "--bind", "127.0.0.1:0", "app:app"], "edgeloop.install()"),
}


def serve_and_end(command: list[str], directory: Path, env: dict[str, str], number: int) -> tuple[int, str]:
    """Run a server until it says where it listens, send it the signal; its exit status and its stderr."""
    process = subprocess.Popen(
        command, cwd=directory, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers too: they hold the pipe, and outlive it

    deadline = threading.Timer(60, kill)
    deadline.start()
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            # The parent of uvicorn's workers says where it listens before it takes signals.
            if ("Started server process" if "--workers" in command and "uvicorn" in command else "unning on") in line:
                break
        process.send_signal(number)
        said += process.stderr.read()
        return process.wait(), said
    finally:
        deadline.cancel()
        kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_chooses_its_loop_itself_is_named_with_the_right_command(
    request: pytest.FixtureRequest, tmp_path: Path, server: str, number: signal.Signals
) -> None:
    arguments, remedy = SERVERS[server]
    (tmp_path / "app.py").write_text(APP)
    env = environment(request.config, tmp_path)
    plain, _ = serve_and_end([sys.executable, "-m", *arguments], tmp_path, env, number)
    status, said = serve_and_end([sys.executable, "-m", "edgeloop", "-m", *arguments], tmp_path, env, number)
    assert status == plain
    lines = [line for line in said.splitlines() if line.startswith("python -m edgeloop: ")]
    assert len(lines) == bool(remedy), said
    assert all(remedy in line for line in lines)


@pytest.mark.parametrize("options", [(), ("-W", "error::RuntimeWarning")], ids=["shown", "an error"])
def test_a_server_after_install_is_warned_of_and_serves(
    request: pytest.FixtureRequest, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "program.py").write_text(
        "import edgeloop, uvicorn\nedgeloop.install()\nuvicorn.run('app:app', port=0, lifespan='off')\n"
    )
    env = environment(request.config, tmp_path)
    status, said = serve_and_end([sys.executable, *options, "program.py"], tmp_path, env, signal.SIGTERM)
    assert status == -signal.SIGTERM
    assert said.count("RuntimeWarning") == 1
    assert 'uvicorn.run(..., loop="edgeloop:new_event_loop")' in said
    if not options:
        assert f"{tmp_path}/program.py:3: RuntimeWarning" in said  # where uvicorn was called


def test_a_warning_that_is_an_error_is_printed_and_ends_nothing(run: Run) -> None:
    program = f"{START}\nimport edgeloop\nedgeloop.install()\n{PROGRAMS['uvloop'][0]}\nsys.exit(3)"
    done = run("-W", "error::RuntimeWarning", "program.py", program=program, uvloop=UVLOOP)
    assert (done.returncode, done.stdout) == (3, "uvloop\n")
    assert done.stderr.startswith("RuntimeWarning: edgeloop.install() was called: uvloop.Loop runs here")
