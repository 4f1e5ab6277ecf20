"""Every way to switch edgeloop on: the programs and commands of docs/switching-on.md, run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from example_process import environment, eventually
from switching_on_page import PAGE, TESTING, command, needs_policies, program

pytestmark = pytest.mark.edgeloop_only


@pytest.fixture
def loop_class() -> str:
    """What a program prints for the class of its loop when edgeloop is on."""
    import edgeloop

    loop = edgeloop.new_event_loop()
    loop.close()
    assert isinstance(loop, edgeloop.EventLoop)
    return str(type(loop))


class Programs:
    """A directory with programs of the page, and the environment in which they run."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self.directory = directory
        scripts = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts"), env["PATH"]])
        self.env = env | {"PATH": scripts, "PYTHONUNBUFFERED": "1"}

    def add(self, *names: str, page: Path = PAGE) -> None:
        for name in names:
            (self.directory / name).write_text(program(name, page).replace("8080", "0"))

    def output(self, *arguments: str) -> str:
        """What the command prints; it must succeed and have nothing to complain about."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(arguments, cwd=self.directory, env=self.env, capture_output=True, text=True, timeout=60)

    @contextmanager
    def server(self, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """The server's process and the address it has printed. It is ended at the end."""
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(arguments, cwd=self.directory, env=self.env, stdout=log, stderr=log)

            def address() -> re.Match[str] | None:
                log.seek(0)
                return re.search(r"http://127\.0\.0\.1:[1-9]\d*", log.read())

            try:
                eventually(lambda: process.poll() is not None or address() is not None)
                found = address()
                log.seek(0)
                assert found, f"no address from {arguments}: {log.read()}"
                yield process, found[0]
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def programs(request: pytest.FixtureRequest, tmp_path: Path) -> Programs:
    return Programs(tmp_path, environment(request.config, tmp_path))


@pytest.mark.parametrize("name", ["run.py", "by_hand.py", "anyio_program.py"])
def test_programs_that_print_their_loop(programs: Programs, loop_class: str, name: str) -> None:
    programs.add(name)
    assert programs.output("python", name) == f"{loop_class}\n"


def test_runner(programs: Programs, loop_class: str) -> None:
    programs.add("runner.py")
    assert programs.output("python", "runner.py") == f"{loop_class}\n" * 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.run takes a loop_factory since 3.12")
def test_asyncio_run(programs: Programs, loop_class: str) -> None:
    programs.add("asyncio_run.py")
    assert programs.output("python", "asyncio_run.py") == f"{loop_class}\n"


def test_trio_guest(programs: Programs, loop_class: str) -> None:
    programs.add("trio_guest.py")
    assert programs.output("python", "trio_guest.py") == f"trio is done\n{loop_class}\n"


def test_program_as_it_is(programs: Programs, loop_class: str) -> None:
    programs.add("program.py")
    assert programs.output(*command("python -m edgeloop program.py")) == f"{loop_class} ['one', 'two']\n"
    assert loop_class not in programs.output("python", "program.py")


@pytest.mark.skipif(sys.version_info < (3, 13), reason="IsolatedAsyncioTestCase.loop_factory came with 3.13")
def test_unittest(programs: Programs) -> None:
    programs.add("test_with_unittest.py", page=TESTING)
    done = programs.run(*command("python -m unittest", TESTING))
    assert done.returncode == 0, done.stderr
    assert "Ran 1 test" in done.stderr


def test_import_warns_of_nothing(programs: Programs) -> None:
    """Policies are deprecated: whoever doesn't ask for one must not hear of it."""
    use = "import edgeloop; edgeloop.new_event_loop().close(); dir(edgeloop); from edgeloop import *"
    assert programs.output("python", "-W", "error", "-c", use) == ""


def test_install(programs: Programs, loop_class: str) -> None:
    programs.add("install.py")
    assert programs.output("python", "-W", "error", "install.py") == f"{loop_class}\n"


@needs_policies
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_policy() -> None:
    import edgeloop

    policy_class: Any = edgeloop.EventLoopPolicy
    policy = policy_class()
    assert isinstance(policy, asyncio.AbstractEventLoopPolicy)
    loop = policy.new_event_loop()
    try:
        assert isinstance(loop, edgeloop.EventLoop)
        policy.set_event_loop(loop)
        assert policy.get_event_loop() is loop
    finally:
        policy.set_event_loop(None)
        loop.close()


def test_python_without_policies(programs: Programs, loop_class: str) -> None:
    """Python 3.16 has none. Before it, a program that takes them out of asyncio first stands for it."""
    (programs.directory / "no_policies.py").write_text(
        "import asyncio\n"
        "for name in list(vars(asyncio)):\n"
        "    if 'olicy' in name or name == '__getattr__':\n"  # __getattr__ offers the deprecated names in 3.14
        "        delattr(asyncio, name)\n"
        "import edgeloop\n"
        "from edgeloop import *\n"
        "assert not hasattr(edgeloop, 'EventLoopPolicy')\n"
        "assert 'EventLoopPolicy' not in edgeloop.__all__\n" + program("run.py") + "\n"
        "edgeloop.install()\n"
        "loop = asyncio.new_event_loop()\n"
        "print(type(loop))\n"
        "loop.close()\n"
    )
    assert programs.output("python", "-W", "error", "no_policies.py") == f"{loop_class}\n" * 2


def test_run_returns_the_result_and_cleans_up() -> None:
    import edgeloop

    ends: list[str] = []

    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ends.append("generator")

    async def sleep() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ends.append("task")

    async def main() -> tuple[asyncio.AbstractEventLoop, int]:
        kept.append(asyncio.create_task(sleep()))
        kept.append(generator := generate())
        return asyncio.get_running_loop(), await anext(generator)

    kept: list[object] = []
    loop, number = edgeloop.run(main())
    assert number == 1
    assert loop.is_closed()
    assert ends == ["task", "generator"]


def test_run_takes_debug() -> None:
    import edgeloop

    async def debug() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert edgeloop.run(debug(), debug=True)
    assert not edgeloop.run(debug(), debug=False)


def test_run_raises_what_the_coroutine_raises() -> None:
    import edgeloop

    async def main() -> None:
        raise LookupError("no good")

    with pytest.raises(LookupError, match="no good"):
        edgeloop.run(main())


def test_run_within_a_running_loop() -> None:
    import edgeloop

    async def inner() -> None:
        raise AssertionError("must not run")

    async def main() -> None:
        coroutine = inner()
        with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
            edgeloop.run(coroutine)
        coroutine.close()

    edgeloop.run(main())


def test_run_of_something_else() -> None:
    import edgeloop

    with pytest.raises((TypeError, ValueError), match="coroutine"):  # which of the two depends on the Python
        edgeloop.run(print)  # type: ignore[arg-type]


# What each server ends with after SIGTERM, by its own design: uvicorn raises the signal again when all is shut down.
SERVERS = {
    "aiohttp": (["aiohttp_server.py"], lambda: ["python", "aiohttp_server.py"], 0),
    "uvicorn": (["asgi.py"], lambda: command("uvicorn"), -signal.SIGTERM),
    "gunicorn with aiohttp": (["aiohttp_module.py"], lambda: command("gunicorn --workers"), 0),
    "gunicorn with uvicorn": (["asgi.py"], lambda: command("gunicorn --worker-class edgeloop.gunicorn.Uvicorn"), 0),
    "gunicorn with its own": (["asgi.py"], lambda: command("gunicorn --worker-class edgeloop.gunicorn.ASGI"), 0),
    "hypercorn": (["asgi.py", "hypercorn_server.py"], lambda: ["python", "hypercorn_server.py"], 0),
}


@pytest.mark.parametrize("server", SERVERS)
def test_servers(programs: Programs, loop_class: str, server: str) -> None:
    files: list[str]
    line: Callable[[], list[str]]
    files, line, code = SERVERS[server]
    programs.add(*files)
    with programs.server(*line()) as (process, url):
        for _ in range(3):
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert answer.read().decode() == loop_class
        process.send_signal(signal.SIGTERM)
        # A worker of gunicorn's that is still starting loses the signal, and is killed after gunicorn's 30 seconds.
        assert process.wait(60) == code
