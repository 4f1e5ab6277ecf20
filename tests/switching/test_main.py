"""``python -m edgeloop``: the program must not be able to tell it from plain ``python``, except by its loop.

Each program is run both ways and the two outcomes are compared, whatever they are in this version of Python.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from example_process import environment

pytestmark = pytest.mark.edgeloop_only

PROBE = """
import asyncio, json, os, pickle, sys

class Thing:
    pass

async def loop_class():
    return str(type(asyncio.get_running_loop()))

spec = globals().get("__spec__")
print(json.dumps({
    "argv": sys.argv,
    "path": sys.path,
    "name": __name__,
    "file": __file__,
    "package": globals().get("__package__"),
    "spec": spec and spec.name,
    "doc": __doc__,
    "is main": sys.modules["__main__"].__dict__ is globals(),
    "names": sorted(name for name in globals() if name.startswith("__")),
    "pickled": pickle.dumps(Thing(), 0).decode(),
    "loops": [asyncio.run(loop_class()), asyncio.run(loop_class())],
}))
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Programs in a directory other than the one they are started from: scripts/, and package/ as a package."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    return tmp_path


class Ways:
    """Run a program plainly and on edgeloop."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self.directory = directory
        self.env = env

    def plainly(self, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *options, *arguments],
            cwd=self.directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def on_edgeloop(self, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return self.plainly("-m", "edgeloop", *arguments, options=options)

    def facts(self, *arguments: str, options: tuple[str, ...] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
        """What PROBE prints, plainly and on edgeloop, without the loops; those are checked here."""
        import edgeloop

        answers = []
        for done, expected in (
            (self.plainly(*arguments, options=options), "asyncio."),
            (self.on_edgeloop(*arguments, options=options), str(edgeloop.EventLoop)),
        ):
            assert (done.returncode, done.stderr) == (0, "")
            facts = json.loads(done.stdout)
            for loop in facts.pop("loops"):
                assert expected in loop
            answers.append(facts)
        return answers[0], answers[1]


@pytest.fixture
def ways(request: pytest.FixtureRequest, directory: Path) -> Ways:
    return Ways(directory, environment(request.config, directory))


@pytest.mark.parametrize("path", ["scripts/probe.py", "./scripts/probe.py", "scripts/../scripts/probe.py"])
def test_script(ways: Ways, directory: Path, path: str) -> None:
    (directory / "scripts" / "probe.py").write_text(PROBE)
    plain, ours = ways.facts(path, "one", "-m", "--help")
    assert ours == plain
    assert ours["argv"] == [path, "one", "-m", "--help"]


def test_script_by_absolute_path_and_through_a_symbolic_link(ways: Ways, directory: Path) -> None:
    (directory / "scripts" / "probe.py").write_text(PROBE)
    (directory / "link.py").symlink_to("scripts/probe.py")
    for path in (str(directory / "scripts" / "probe.py"), "link.py"):
        plain, ours = ways.facts(path)
        assert ours == plain
        assert ours["path"][0] == str(directory / "scripts")


def test_script_imports_its_neighbour_not_ours(ways: Ways, directory: Path) -> None:
    (directory / "scripts" / "neighbour.py").write_text("WHERE = 'scripts'")
    (directory / "neighbour.py").write_text("WHERE = 'the current directory'")
    (directory / "scripts" / "program.py").write_text("import neighbour; print(neighbour.WHERE)")
    assert ways.on_edgeloop("scripts/program.py").stdout == ways.plainly("scripts/program.py").stdout == "scripts\n"


def test_directory_with_a_main(ways: Ways, directory: Path) -> None:
    (directory / "scripts" / "__main__.py").write_text(PROBE)
    plain, ours = ways.facts("scripts", "one")
    assert ours == plain


@pytest.mark.parametrize("module", ["package", "package.probe", "probe"])
def test_module(ways: Ways, directory: Path, module: str) -> None:
    for name in ("package/__main__.py", "package/probe.py", "probe.py"):
        (directory / name).write_text(PROBE)
    plain, ours = ways.facts("-m", module, "one", "-m", "two")
    assert ours == plain
    assert ours["argv"][1:] == ["one", "-m", "two"]


@pytest.mark.parametrize("options", [("-P",), ("-W", "error")], ids=["safe path", "warnings are errors"])
def test_options_of_python(ways: Ways, directory: Path, options: tuple[str, ...]) -> None:
    for name in ("probe.py", "__main__.py"):
        (directory / "scripts" / name).write_text(PROBE)
    for program in ("scripts/probe.py", "scripts"):
        plain, ours = ways.facts(program, options=options)
        assert ours == plain
    plain, ours = ways.facts("-c", TEXT, options=options)
    assert ours == plain


ENDINGS = {
    "by falling off the end": "print('done')",
    "with a code": "import sys; sys.exit(3)",
    "with a message": "import sys; sys.exit('no good')",
    "with None": "import sys; sys.exit(None)",
    "with an exception": "def f():\n    raise ValueError('no good')\n\nf()",
    "with a chain": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
    "with an exception group": "raise ExceptionGroup('two', [ValueError(1), TypeError(2)])",
    "with an exit in a coroutine": "import asyncio, sys\nasync def main():\n    sys.exit(4)\nasyncio.run(main())",
    "with a syntax error": "print('a'\n",
    "with an error in an imported module": "import broken",
    "with a hook of its own": "import sys\nsys.excepthook = lambda *a: print('hook', a[1])\nraise ValueError(5)",
    "with work at exit": "import atexit\natexit.register(print, 'at exit')\nraise SystemExit(6)",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_program_ends(ways: Ways, directory: Path, ending: str) -> None:
    (directory / "scripts" / "program.py").write_text(ENDINGS[ending])
    (directory / "scripts" / "broken.py").write_text("import nothing_of_this_name")
    plain = ways.plainly("scripts/program.py")
    ours = ways.on_edgeloop("scripts/program.py")
    assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_module_ends_with_an_exception(ways: Ways, directory: Path) -> None:
    """Frames of runpy stand above the program's in both ways; the program's own part must be the same."""
    (directory / "package" / "program.py").write_text("def f():\n    raise ValueError('no good')\n\nf()")
    plain = ways.plainly("-m", "package.program")
    ours = ways.on_edgeloop("-m", "package.program")
    assert ours.returncode == plain.returncode == 1
    start = f'  File "{directory}/package/program.py"'
    assert start in plain.stderr
    assert ours.stderr[ours.stderr.index(start) :] == plain.stderr[plain.stderr.index(start) :]
    assert "edgeloop" not in ours.stderr


def test_exception_from_a_coroutine_shows_the_program_first(ways: Ways, directory: Path) -> None:
    """The frames of the loop differ, of course; what is above and below them is the program's."""
    (directory / "scripts" / "program.py").write_text(
        "import asyncio\n\nasync def main():\n    raise ValueError('no good')\n\nasyncio.run(main())\n"
    )
    plain, ours = (way("scripts/program.py") for way in (ways.plainly, ways.on_edgeloop))
    assert ours.returncode == plain.returncode == 1
    assert ours.stderr.splitlines()[:3] == plain.stderr.splitlines()[:3]
    assert ours.stderr.splitlines()[-3:] == plain.stderr.splitlines()[-3:]


def test_interrupted_program_dies_of_the_signal(ways: Ways, directory: Path) -> None:
    """As with plain python: the shell must see that Ctrl-C ended it, or it would go on with its script."""
    (directory / "scripts" / "program.py").write_text(
        "import asyncio, os, signal\n"
        "async def main():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        "        print('cleaned up', flush=True)\n"
        "asyncio.run(main())\n"
    )
    plain, ours = (way("scripts/program.py") for way in (ways.plainly, ways.on_edgeloop))
    assert ours.returncode == plain.returncode == -signal.SIGINT
    assert ours.stdout == plain.stdout == "cleaned up\n"
    assert ours.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1] == "KeyboardInterrupt"


def test_processes_that_a_program_starts_find_it(ways: Ways, directory: Path) -> None:
    """multiprocessing's spawn imports the program again by what ``__main__`` says of itself."""
    (directory / "scripts" / "program.py").write_text(
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "def square(number):\n"
        "    return number * number\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:\n"
        "        print(list(pool.map(square, range(4))))\n"
    )
    (directory / "package" / "program.py").write_text((directory / "scripts" / "program.py").read_text())
    for arguments in (("scripts/program.py",), ("-m", "package.program")):
        done = ways.on_edgeloop(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1, 4, 9]\n", "")


@pytest.mark.parametrize("arguments", [("scripts/missing.py",), ("-m", "missing"), ("-m", "package")])
def test_program_that_is_not_there(ways: Ways, arguments: tuple[str, ...]) -> None:
    plain, ours = ways.plainly(*arguments), ways.on_edgeloop(*arguments)
    assert ours.returncode == plain.returncode
    assert ours.stdout == ""
    # The reason as Python words it: "can't open file ...", "No module named ...".
    said, expected = (done.stderr.strip().split(": ", 1)[1].replace("'", "") for done in (ours, plain))
    assert said == expected  # but for PyPy, which puts the name into no quotes


REFUSED = {
    (): "which program?",
    ("-m",): "argument expected for the -m option",
    ("-c",): "argument expected for the -c option",
    ("-x",): "unknown option -x",
    ("--bogus", "program.py"): "unknown option --bogus",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_without_a_program_it_says_what_is_wrong(ways: Ways, arguments: tuple[str, ...]) -> None:
    done = ways.on_edgeloop(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"python -m edgeloop: {REFUSED[arguments]}")
    assert "usage: python -m edgeloop script.py" in done.stderr


# There is no file that pickle or the probe could name.
TEXT = PROBE.replace('"file": __file__,', '"file": globals().get("__file__"),')


def test_code_of_the_command_line(ways: Ways, directory: Path) -> None:
    plain, ours = ways.facts("-c", TEXT, "one", "-c", "two")
    assert ours == plain
    assert ours["argv"] == ["-c", "one", "-c", "two"]


def test_code_that_raises_ends_as_plainly(ways: Ways) -> None:
    for code in ("import sys; sys.exit(3)", "raise SystemExit('no good')", "import asyncio; asyncio.run(1 / 0)"):
        plain, ours = ways.plainly("-c", code), ways.on_edgeloop("-c", code)
        assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
        assert ours.stderr.splitlines()[-1:] == plain.stderr.splitlines()[-1:]
        assert "launch.py" not in ours.stderr


def test_program_on_standard_input(ways: Ways, directory: Path) -> None:
    found = []
    for command in (["-"], ["-m", "edgeloop", "-"]):
        done = subprocess.run(
            [sys.executable, *command, "one"],
            input="import asyncio, sys\nasync def main():\n    print(type(asyncio.get_running_loop()))\n"
            "print(sys.argv, __name__)\nasyncio.run(main())\n1 / 0\n",
            cwd=directory,
            env=ways.env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert '  File "<stdin>", line 6, in <module>' in done.stderr
        assert "launch.py" not in done.stderr
        found.append(done.stdout.splitlines())
    plain, ours = found
    assert ours[0] == plain[0] == "['-', 'one'] __main__"
    assert (plain[1], ours[1]) == (
        "<class 'asyncio.unix_events._UnixSelectorEventLoop'>",
        "<class 'edgeloop.loop.EventLoop'>",
    )


def test_version_and_help(ways: Ways) -> None:
    import edgeloop

    done = ways.on_edgeloop("--version")
    assert (done.returncode, done.stdout) == (0, f"edgeloop {edgeloop.__version__} ({edgeloop.EDITION})\n")
    done = ways.on_edgeloop("--help")
    assert done.returncode == 0
    assert "python -m edgeloop" in done.stdout


def test_edition_of_the_environment(ways: Ways, directory: Path) -> None:
    import edgeloop

    (directory / "scripts" / "program.py").write_text("import edgeloop; print(edgeloop.EDITION)")
    assert ways.on_edgeloop("scripts/program.py").stdout == f"{edgeloop.EDITION}\n"
    ways.env = ways.env | {"EDGELOOP_PURE": "1"}
    assert ways.on_edgeloop("scripts/program.py").stdout == "pure\n"


def test_loop_by_every_way_a_program_may_ask(ways: Ways, directory: Path) -> None:
    import edgeloop

    (directory / "scripts" / "program.py").write_text(
        "import asyncio, threading\n"
        "async def main():\n"
        "    print(type(asyncio.get_running_loop()))\n"
        "asyncio.run(main())\n"
        "with asyncio.Runner() as runner:\n"
        "    runner.run(main())\n"
        "loop = asyncio.new_event_loop()\n"
        "loop.run_until_complete(main())\n"
        "loop.close()\n"
        "thread = threading.Thread(target=lambda: asyncio.run(main()))\n"
        "thread.start()\n"
        "thread.join()\n"
        "import unittest\n"
        "class Test(unittest.IsolatedAsyncioTestCase):\n"
        "    async def test(self):\n"
        "        await main()\n"
        "unittest.TextTestRunner(open('/dev/null', 'w')).run(Test('test'))\n"
    )
    done = ways.on_edgeloop("scripts/program.py", options=("-W", "ignore::ResourceWarning"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{edgeloop.EventLoop}\n" * 5


def test_environment_reaches_the_program_untouched(ways: Ways, directory: Path) -> None:
    (directory / "scripts" / "program.py").write_text("import os; print(sorted(os.environ.items()))")
    assert ways.on_edgeloop("scripts/program.py").stdout == ways.plainly("scripts/program.py").stdout
