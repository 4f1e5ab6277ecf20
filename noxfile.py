"""What is run on this code, a session each: ``nox --list`` names them, ``make test`` runs those that a change needs.

An environment belongs to a Python: .venv/3.13 and so on. The sessions of a Python share it, for both editions come from
one build, and ``EDGELOOP_PURE`` chooses one of them at the import. What follows ``--`` goes to the program that a session
runs: ``nox -s "tests-3.13(pure)" -- tests/loop -k timer``.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nox
from nox.virtualenv import ALL_VENVS, VirtualEnv

HERE = Path(__file__).parent
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
#: For what runs on one Python: the one that nox runs on, if edgeloop does.
THIS = next((version for version in PYTHONS if sys.version.startswith(f"{version}.")), PYTHONS[0])

#: What the tests drive edgeloop with: programs, and Debian's packages of the same names.
TOOLS = ("strace", "curl", "openssl", "valgrind")

#: Tests that depend neither on the Python nor on the edition: of the harnesses, the benchmarks and the examples, and those
#: whose clients are other people's programs.
ONCE = ("tests/benchmarks", "tests/clients", "tests/compat", "tests/examples")

#: Tests of how edgeloop is built, which depend on the Python but not on the edition that runs them.
BUILDS = ("tests/**/test_generated_code.py", "tests/**/test_package.py")

#: A worker takes whole files, whose tests share servers. There are more workers than cores, because most tests wait.
PYTEST = ("python", "-m", "pytest", "-q", "-n", "4", "--dist", "loadfile")
TYPED = ("edgeloop", "pytest_edgeloop.py", "benchmarks", "compat", "examples", "tests")


def pythons_of_pyenv() -> list[str]:
    """Return the folders of pyenv's Pythons, newest first. They are not on PATH; its shims answer for the chosen ones only."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    found = [path for version in PYTHONS for path in versions.glob(f"{version}[.-]*/bin")]
    found.sort(key=lambda path: [int(number) for number in re.findall(r"\d+", path.parent.name)], reverse=True)
    return [str(path) for path in found]


def shared(session_folder: str, *, interpreter: str, **others: Any) -> VirtualEnv:
    """Return the environment of all sessions of this Python; nox would make one for each session."""
    return VirtualEnv(
        f".venv/{interpreter}", interpreter, reuse_existing=True, venv_backend="venv", download_python="never"
    )


os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *pythons_of_pyenv()])
ALL_VENVS["shared"] = shared

nox.needs_version = ">=2026.2.9"
nox.options.default_venv_backend = "shared"
nox.options.error_on_missing_interpreters = False  # each Python that is here; in public CI an option says otherwise
nox.options.sessions = ["lint", "types", "once", "tests"]

both_editions = nox.parametrize("edition", [nox.param(name, id=name) for name in ("compiled", "pure")])


def prepare(session: nox.Session, edition: str = "compiled") -> None:
    """Bring the environment up to date, and choose the edition that runs in it. The session fails if another one would run."""
    ready = Path(session.virtualenv.location, "ready")
    sources = [HERE / "pyproject.toml", HERE / "setup.py", *HERE.glob("edgeloop/**/*.p*")]
    if not ready.exists() or ready.stat().st_mtime < max(path.stat().st_mtime for path in sources if path.is_file()):
        ready.unlink(missing_ok=True)
        compiled = {"EDGELOOP_PURE": "0"}
        session.install("--upgrade", "pip", "setuptools", "wheel", "Cython>=3.3.1", "build")
        # In place: the extension modules stand beside their sources, and those that are up to date are not compiled again.
        session.install("--no-build-isolation", "-e", ".[test,lint]", env=compiled)
        ready.touch()
    session.env["EDGELOOP_PURE"] = "1" if edition == "pure" else "0"
    found = session.run("python", "-c", "import edgeloop; print(edgeloop.EDITION)", silent=True, stderr=None)
    if str(found).strip() != edition:
        session.error(f"the {edition} edition was to run, but the other one would")


def install_tools(session: nox.Session) -> None:
    """Install what is missing of TOOLS, if this is root on a Debian. Elsewhere the tests that need it are skipped."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        session.run("apt-get", "update", "-qq", external=True)
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        session.run("apt-get", "install", "-y", "-qq", *missing, env=quiet, silent=True, external=True)


def there(patterns: tuple[str, ...]) -> list[str]:
    """Return the files and folders that match, for pytest."""
    return [str(path.relative_to(HERE)) for pattern in patterns for path in sorted(HERE.glob(pattern))]


@nox.session(python=PYTHONS)
def develop(session: nox.Session) -> None:
    """Make the environment to work in: .venv/3.13 and so on, with edgeloop built in place."""
    prepare(session)


@nox.session(python=THIS)
def lint(session: nox.Session) -> None:
    """Find mistakes, and what is not in the one format."""
    prepare(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=THIS)
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    prepare(session)
    session.run("mypy", *TYPED)
    session.run("mypy", "--python-executable", sys.executable, "noxfile.py")  # where nox is installed


@nox.session(name="once", python=THIS)
def tests_once(session: nox.Session) -> None:
    """Run the tests that depend neither on the Python nor on the edition."""
    prepare(session)
    install_tools(session)
    # In this order: the benchmarks' own are few and take long, and pytest would begin with the files of many tests.
    session.run(*PYTEST, "--no-loadscope-reorder", *(session.posargs or there(ONCE)))


@nox.session(python=PYTHONS)
@both_editions
def tests(session: nox.Session, edition: str) -> None:
    """Run all other tests; after -- some of them and pytest's options."""
    prepare(session, edition)
    install_tools(session)
    elsewhere = there(ONCE if edition == "compiled" else ONCE + BUILDS)
    session.run(*PYTEST, *(session.posargs or [f"--ignore={path}" for path in elsewhere]))


@nox.session(python=PYTHONS)
@both_editions
def weather(session: nox.Session, edition: str) -> None:
    """Fail each system call and allocation of the scenarios in tests/weather once; re-entry; the whole suite in weather."""
    prepare(session, edition)
    session.run(
        "python", "-m", "pytest", "-q", "-n", "auto", "tests/weather", *session.posargs, env={"WEATHER": "whole"}
    )
    elsewhere = [f"--ignore={path}" for path in there((*ONCE, *BUILDS))]
    session.run("python", "tests/weather/seeded.py", *PYTEST, *elsewhere)


@nox.session(python=PYTHONS)
@both_editions
def compat(session: nox.Session, edition: str) -> None:
    """Run asyncio's own tests on edgeloop, and those of its streams on edgeloop's."""
    prepare(session, edition)
    # Loops that wait where a test has replaced the stdlib's internals hang in it: 30 seconds are plenty for the others.
    asyncios = ("python", "-m", "compat.asyncio", "--timeout", "30")
    session.run(*asyncios, *session.posargs)
    session.run(*asyncios, "--streams", "--module", "test_streams", *session.posargs)


@nox.session(python=PYTHONS)
def projects(session: nox.Session) -> None:
    """Run the test suites of other projects on edgeloop: after -- their names, or all."""
    prepare(session)
    session.run("python", "-m", "compat", *session.posargs)


@nox.session(python=PYTHONS)
def benchmarks(session: nox.Session) -> None:
    """Compare all loops, in an environment of its own; after -- cells and options of python -m benchmarks."""
    session.run("python", "-m", "benchmarks", "--peers", *session.posargs)


@nox.session(python=PYTHONS)
def instructions(session: nox.Session) -> None:
    """Count instructions and compare with the record; after -- scenarios and options of benchmarks.instructions."""
    prepare(session)
    install_tools(session)
    session.run("python", "-m", "benchmarks.instructions", *session.posargs)
