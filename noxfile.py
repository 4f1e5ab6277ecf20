"""What is run on this code, a session each: ``nox --list`` names them, ``make test`` runs those that a change needs.

An environment belongs to a Python: .venv/3.13 and so on. The sessions of a Python share it, for both editions come from
one build, and ``EDGELOOP_PURE`` chooses one of them at the import. What follows ``--`` goes to the program that a session
runs: ``nox -s "tests-3.13(pure)" -- tests/loop -k timer``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nox
from nox.command import CommandFailed
from nox.virtualenv import ALL_VENVS, VirtualEnv

HERE = Path(__file__).parent
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
#: For what runs on one Python: the one that nox runs on, if edgeloop does.
THIS = next((version for version in PYTHONS if sys.version.startswith(f"{version}.")), PYTHONS[0])

#: What the tests drive edgeloop with: programs, and Debian's packages of the same names.
TOOLS = ("strace", "curl", "openssl", "valgrind")

#: Tests that depend neither on the Python nor on the edition: of the harnesses, the benchmarks and the examples, those whose
#: clients are other people's programs, the simulation and the mutants, which run the pure edition, and memcheck, which
#: watches the compiled one.
ONCE = (
    "tests/benchmarks",
    "tests/clients",
    "tests/compat",
    "tests/docs",
    "tests/examples",
    "tests/mutants",
    "tests/sanitize",
    "tests/simulation",
)

#: Tests of how edgeloop is built, which depend on the Python but not on the edition that runs them.
BUILDS = ("tests/**/test_generated_code.py", "tests/**/test_package.py")

#: A worker takes whole files, whose tests share servers. There are more workers than cores, because most tests wait.
PYTEST = ("python", "-m", "pytest", "-q", "-n", "4", "--dist", "loadfile")
#: So many failing tests get another try. More than that is no accident.
TRIES = 3
#: What searches at random gets none: what it found once is there.
SEARCHES = ("tests/weather/", "tests/simulation/")
CACHE = HERE / ".pytest_cache/v"

TYPED = ("edgeloop", "pytest_edgeloop.py", "benchmarks", "compat", "examples", "tests", "website", "wheels")


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


def own(session_folder: str, *, interpreter: str, **others: Any) -> VirtualEnv:
    """Return an environment that only this session uses: .venv/3.13-sanitize and so on."""
    session = Path(session_folder).name.partition("-")[0]
    return VirtualEnv(
        f".venv/{interpreter}-{session}", interpreter, reuse_existing=True, venv_backend="venv", download_python="never"
    )


os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *pythons_of_pyenv()])
#: For what runs once, on the newest Python that is here: sys.monitoring, which the simulation asks for the lines that it
#: reaches, is there from 3.12 on.
NEWEST = next((version for version in reversed(PYTHONS) if shutil.which(f"python{version}")), THIS)
ALL_VENVS["shared"] = shared
ALL_VENVS["own"] = own

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
    choose(session, edition)


def choose(session: nox.Session, edition: str) -> None:
    """Choose the edition that runs from here on. The session fails if another one would run."""
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


def run_tests(session: nox.Session, *arguments: str) -> None:
    """Run pytest. The few that fail are run once more, by themselves, as CPython's ``regrtest --rerun`` does.

    A test of programs that run side by side may be held up by all the others. What fails twice fails, and so do a crash
    and what a random search found. What passed at its second try is named: that test or the code has a fault to be found.
    """
    failed, crashed = CACHE / "cache/lastfailed", CACHE / "edgeloop/crashed"
    for path in (failed, crashed):
        path.unlink(missing_ok=True)
    try:
        session.run(*PYTEST, *arguments)
        return
    except CommandFailed:
        names = list(json.loads(failed.read_text())) if failed.exists() else []
        if crashed.exists() or not 0 < len(names) <= TRIES or any(name.startswith(SEARCHES) for name in names):
            raise
    session.run("python", "-m", "pytest", "-q", *names)
    for name in names:
        session.warn(f"passed only at its second try: {name}")


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


#: The same programs each time: what is landed is held against what is known, new ones are for make differential.
DIFFERENTIAL_IN_SHORT = {
    "DIFFERENTIAL_EXAMPLES": "200",
    "DIFFERENTIAL_SECONDS": "5",
    "DIFFERENTIAL_SHRINK": "0",
    "DIFFERENTIAL_SEED": "201",
}


def run_differential(session: nox.Session, *arguments: str, **environment: str) -> None:
    """Run the differential campaign with Hypothesis and, where it has a wheel, uvloop.

    They stand apart from the environment of the tests: Hypothesis' pytest plugin imports it at the end of every run of
    pytest, and warns about trio; servers would choose uvloop.
    """
    apart = str(Path(session.virtualenv.location, "apart").resolve())
    if not Path(apart, "hypothesis").exists():
        session.run("python", "-m", "pip", "install", "-q", "--target", apart, "hypothesis")
        wheel = ("python", "-m", "pip", "install", "-q", "--only-binary", ":all:", "--target", apart, "uvloop")
        session.run(*wheel, success_codes=[0, 1])
    session.run(
        *("python", "-m", "pytest", "-q", "-s", "tests/differential", *arguments),
        env={**environment, "PYTHONPATH": apart},
    )


def build_site(session: nox.Session, *arguments: str) -> str:
    """Build the documentation's site into build/site and check its links; any warning is an error. Return the Python used.

    MkDocs has an environment of its own, which reads edgeloop's sources and doesn't import them.
    """
    folder = HERE / ".venv" / "docs"
    python = str(folder / "bin" / "python")
    ready, wanted = folder / "ready", HERE / "website" / "requirements.txt"
    if not ready.exists() or ready.read_text() != wanted.read_text():
        ready.unlink(missing_ok=True)
        session.run(sys.executable, "-m", "venv", "--clear", str(folder), external=True)
        session.run(python, "-m", "pip", "install", "-q", "-r", str(wanted), external=True)
        ready.write_text(wanted.read_text())
    session.run(
        *(python, "-m", "mkdocs", "build", "--quiet", "--strict", *arguments),
        external=True,
        env={"NO_MKDOCS_2_WARNING": "1"},
    )
    session.run(python, "website/links.py", "build/site", external=True)
    return python


@nox.session(python=THIS, venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the documentation's site into build/site; after -- options of mkdocs build."""
    build_site(session, *session.posargs)


@nox.session(name="docs-browser", python=THIS, venv_backend="none")
def docs_browser(session: nox.Session) -> None:
    """Look at every page of the site in Chromium, light and dark, narrow and wide; after -- options of website/browser.py."""
    python = build_site(session)
    if shutil.which("chromium") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        session.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", external=True)
    session.run(python, "-m", "pip", "install", "-q", "playwright>=1.50", external=True)
    session.run(python, "website/browser.py", *(session.posargs or []), "build/site", external=True)


@nox.session(name="once", python=NEWEST)
def tests_once(session: nox.Session) -> None:
    """Run the tests that depend neither on the Python nor on the edition."""
    prepare(session)
    install_tools(session)
    if not session.posargs:
        build_site(session)
    # In this order: the benchmarks' own are few and take long, and pytest would begin with the files of many tests.
    run_tests(session, "--no-loadscope-reorder", *(session.posargs or there(ONCE)))
    if not session.posargs:
        run_differential(session, **DIFFERENTIAL_IN_SHORT)


@nox.session(python=PYTHONS)
@both_editions
def tests(session: nox.Session, edition: str) -> None:
    """Run all other tests; after -- some of them and pytest's options."""
    prepare(session, edition)
    install_tools(session)
    apart = (*ONCE, "tests/differential")
    elsewhere = there(apart if edition == "compiled" else apart + BUILDS)
    run_tests(session, *(session.posargs or [f"--ignore={path}" for path in elsewhere]))


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


# Machines that look for what tests don't. What they build stands in an environment and a copy of the tree of its own.


@nox.session(python=PYTHONS, venv_backend="own")
def memcheck(session: nox.Session) -> None:
    """Play the scenarios of the hunt for leaks under valgrind's memcheck; after -- some of them."""
    install_tools(session)
    tree = prepare_own(session, EDGELOOP_DEBUG="1")
    python = Path(session.virtualenv.location, "bin", "python").absolute()
    folders = ("tests/leaks", "tests/weather", "tests/support", ".")
    environment = {"PYTHONMALLOC": "malloc", "PYTHONPATH": os.pathsep.join(str(tree / folder) for folder in folders)}
    suppressions = "--suppressions=tests/sanitize/valgrind.supp"
    watching = ("valgrind", "--leak-check=no", "--num-callers=24", "--error-exitcode=9", suppressions)
    playing = (str(python), "tests/leaks/hunt.py", "--batches", "0", "--plays", "1")
    with session.chdir(tree):
        choose(session, "compiled")
        session.run(*watching, *playing, *session.posargs, env=environment, external=True)


def run_coverage(
    session: nox.Session, tree: Path, rcfile: str, parts: list[list[str]], *lists: str, only: tuple[str, ...] = ()
) -> None:
    """Run the tests under coverage.py, print its report, and hold it against the lists of what is known to be unreached.

    Each part is a pytest of its own, so that a crash costs what that part has reached, and nothing else. ``only``: the files
    to report on, all by default.
    """
    session.install("coverage>=7.10")
    coverage = ("python", "-m", "coverage")
    options = f"--rcfile=tests/coverage/{rcfile}"
    with session.chdir(tree):
        shutil.rmtree("build/coverage", ignore_errors=True)
        Path("build/coverage").mkdir(parents=True)
        for tests in [session.posargs] if session.posargs else parts:
            # A test that fails under the tracer is no reason to learn nothing of the others.
            ends = [0, 1, -signal.SIGABRT, -signal.SIGSEGV]
            session.run(*coverage, "run", options, "-m", *PYTEST[2:], *tests, success_codes=ends)
        session.run(*coverage, "combine", "-q", options)
        # The functions of vectors.pxd are in other modules' C files: it has none that Cython's plugin could look up.
        include = [f"--include={','.join(only)}", "--omit=*/kernel/vectors.pxd"] if only else []
        session.run(*coverage, "report", options, *include)
        session.run(*coverage, "json", "-q", options, *include, "-o", "build/coverage/data.json")
        if not session.posargs:
            known = [argument for name in lists for argument in ("--list", f"tests/coverage/{name}")]
            session.run("python", "tests/coverage/unreached.py", *known, "build/coverage/data.json")


@nox.session(python=PYTHONS, venv_backend="own")
def coverage(session: nox.Session) -> None:
    """Say which lines and branches of the pure edition no test reaches, and fail if one is not known; after -- tests."""
    install_tools(session)
    tree = prepare_own(session, EDGELOOP_PURE="1")
    with session.chdir(tree):
        choose(session, "pure")
    parts = [[f"--ignore={path}" for path in there(ONCE + BUILDS)]]
    run_coverage(session, tree, "pure.ini", parts, "unreached.txt")


#: The tests of what is compiled, a part each.
TRACED = ("kernel", "core", "transports", "streams", "serving", "loop", "watching")
#: What a signal handler raises while coverage.py's plugin runs coverage.py takes for a fault of the plugin: it prints it,
#: ends the measurement, and the test waits for ever.
RAISING_HANDLERS = ("test_loop_interrupt.py", "test_loop_signals.py", "test_signals_in_floods.py")
#: The plugin is Python, and runs at each line: there the interpreter lets other threads run, between lines that are one step
#: under its lock. So callbacks of threads are lost, or the process crashes. A test that then waits for ever ends its process.
ONE_THREAD = ("-k", "not thread", "-o", "faulthandler_timeout=300", "-o", "faulthandler_exit_on_timeout=true")


@nox.session(python="3.12", venv_backend="own")
def linetrace(session: nox.Session) -> None:
    """The same of the compiled edition, by lines, on a build that tells of each; after -- tests.

    On 3.12: from 3.13 on Cython's code tells sys.monitoring of them, and there coverage.py can't ask for files other than .py.
    """
    install_tools(session)
    tree = prepare_own(session, EDGELOOP_LINETRACE="1")
    with session.chdir(tree):
        choose(session, "compiled")
    generated = tree / "build" / "cython"
    compiled: list[str] = []
    for c_file in generated.glob("edgeloop/**/*.c"):  # where Cython's plugin looks for them: beside the sources
        module = c_file.relative_to(generated)
        shutil.copy2(c_file, tree / module)
        source = ".pyx" if (tree / module).with_suffix(".pyx").exists() else ".py"  # whose .py is the pure edition then
        compiled += [f"*/{module.with_suffix(suffix)}" for suffix in (source, ".pxd")]
    left_out = [f"--ignore=tests/loop/{name}" for name in RAISING_HANDLERS]
    left_out += [f"--ignore={path}" for path in there(BUILDS)]
    parts = [[f"tests/{folder}", *ONE_THREAD, *left_out] for folder in TRACED]
    lists = ("unreached_compiled.txt", "unreached.txt")
    run_coverage(session, tree, "compiled.ini", parts, *lists, only=tuple(compiled))


@nox.session(python=PYTHONS, venv_backend="own")
def mutants(session: nox.Session) -> None:
    """Break modules in one place at a time: what share do their tests notice? After -- options of tests/mutants."""
    tree = prepare_own(session, EDGELOOP_PURE="1")
    with session.chdir(tree):
        session.run("python", "tests/mutants/mutants.py", *session.posargs)


@nox.session(python=PYTHONS)
@both_editions
def leaks(session: nox.Session, edition: str) -> None:
    """Play each scenario until it leaves nothing behind."""
    prepare(session, edition)
    session.run("python", "-m", "pytest", "-q", "tests/leaks", *session.posargs, env={"LEAKS": "whole"})


#: What runs under the sanitizers in CI: the modules that are compiled, and the objects that act at each moment.
SANITIZED_IN_SHORT = ("tests/kernel", "tests/core", "tests/transports", "tests/weather/test_reentry.py")
SANITIZERS = "address,undefined"

#: What AddressSanitizer ends a process for, with SIGABRT.
USE_AFTER_FREE = "import ctypes; ctypes.string_at(ctypes.addressof(ctypes.create_string_buffer(1000)), 1000)"


def own_tree(session: nox.Session) -> Path:
    """Bring a copy of the tree up to date, which is built otherwise than this one. What was built there stays."""
    tree = Path(session.virtualenv.location, "tree").absolute()
    tree.mkdir(parents=True, exist_ok=True)
    built = {tree / "build", *tree.glob("edgeloop/*.so")}
    for path in tree.rglob("*"):
        if (path.is_symlink() or path.is_file()) and not any(path.is_relative_to(kept) for kept in built):
            path.unlink()
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in subprocess.run(listing, cwd=HERE, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and os.path.lexists(HERE / name):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(HERE / name, tree / name, follow_symlinks=False)
    return tree


def prepare_own(session: nox.Session, **environment: str) -> Path:
    """Bring the environment of this session alone up to date, built with these variables. Return its copy of the tree."""
    tree = own_tree(session)
    if not Path(session.virtualenv.location, "ready").exists():
        session.install("--upgrade", "pip", "setuptools", "wheel", "Cython>=3.3.1", "build")
    with session.chdir(tree):
        session.install("--no-build-isolation", "-e", ".[test]", env={"EDGELOOP_PURE": "0"} | environment)
    Path(session.virtualenv.location, "ready").touch()
    return tree


@nox.session(python=PYTHONS, venv_backend="own")
def sanitize(session: nox.Session) -> None:
    """Run the tests on a build that AddressSanitizer and UndefinedBehaviorSanitizer watch; after -- "short", or tests."""
    install_tools(session)
    tree = prepare_own(session, EDGELOOP_SANITIZE=SANITIZERS, PYTHONMALLOC="pymalloc")
    python = Path(session.virtualenv.location, "bin", "python").absolute()
    session.run("python", "tests/sanitize/interpreter.py", str(python), SANITIZERS)
    session.run("python", "-c", USE_AFTER_FREE, success_codes=[-signal.SIGABRT], silent=True)
    with session.chdir(tree):
        choose(session, "compiled")
    arguments = list(SANITIZED_IN_SHORT) if session.posargs == ["short"] else session.posargs
    reports = tree / "build" / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    with session.chdir(tree):
        # The harnesses, the benchmarks and memcheck start other programs: nothing of theirs would be watched.
        elsewhere = ("tests/benchmarks", "tests/compat", "tests/sanitize")
        session.run(
            *PYTEST,
            *(arguments or [f"--ignore={path}" for path in elsewhere]),
            env={"ASAN_OPTIONS": f"log_path={reports}/report"},
        )
    if found := sorted(reports.iterdir()):
        session.error("\n\n".join(path.read_text() for path in found))  # of processes whose end no test looked at


#: Is not on PyPI, and fetched; or TLSFUZZER in the environment names a folder that has it.
TLSFUZZER = "https://github.com/tlsfuzzer/tlsfuzzer"
TLSFUZZER_COMMIT = "14555fe211456c46deccc4b2d94751dbd894aece"  # 2026-01-09
TLSLITE = "tlslite-ng==0.9.0b2"


@nox.session(python=THIS)
def tlsfuzzer(session: nox.Session) -> None:
    """Have tlsfuzzer's scripts talk to a TLS server on edgeloop, half an hour or more; after -- some scripts, or --record."""
    prepare(session)
    apart = Path(session.virtualenv.location, "tlsfuzzer").resolve()
    if not Path(apart, "tlslite").exists():
        session.run("python", "-m", "pip", "install", "-q", "--target", str(apart), TLSLITE)
    scripts = Path(os.environ.get("TLSFUZZER") or apart / "source").absolute()
    if not Path(scripts, "scripts").exists():
        git = ("git", "-C", str(scripts))
        session.run("git", "init", "-q", str(scripts), external=True)
        session.run(*git, "fetch", "-q", "--depth", "1", TLSFUZZER, TLSFUZZER_COMMIT, external=True)
        session.run(*git, "checkout", "-q", TLSFUZZER_COMMIT, "--", "scripts", "tlsfuzzer", external=True)
    session.run("python", "tests/hostile/fuzz_tls.py", str(scripts), *session.posargs, env={"PYTHONPATH": str(apart)})


@nox.session(python=PYTHONS)
def differential(session: nox.Session) -> None:
    """Play random programs on asyncio, both editions and uvloop; after -- how many of each kind."""
    prepare(session)
    examples, *others = session.posargs or ["2000"]
    run_differential(session, *others, DIFFERENTIAL_EXAMPLES=examples)


@nox.session(python=PYTHONS)
@both_editions
def soak(session: nox.Session, edition: str) -> None:
    """Very many of everything, then all at once on one loop for an hour; after -- other seconds, and options of soak.py."""
    prepare(session, edition)
    session.run("python", "-m", "pytest", "-q", "tests/soak/test_extremes.py", env={"SOAK": "whole"})
    seconds, *options = session.posargs or ["3600"]
    paths = os.pathsep.join(["tests/support", "tests/soak"])
    session.run("python", "tests/soak/soak.py", "--seconds", seconds, *options, env={"PYTHONPATH": paths})


@nox.session(python=PYTHONS)
def simulate(session: nox.Session) -> None:
    """Run the pure edition on a simulated kernel, a million times, or as after --: --schedules 20000 --seed 7."""
    prepare(session)
    session.run("python", "tests/simulation/simulate.py", *session.posargs)


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
def crowd(session: nox.Session) -> None:
    """What a connection costs when there are many, on the loops that are here; after -- options of benchmarks.crowd."""
    prepare(session)
    session.run("python", "-m", "benchmarks.crowd", *session.posargs)


@nox.session(python=PYTHONS)
def instructions(session: nox.Session) -> None:
    """Count instructions and compare with the record; after -- scenarios and options of benchmarks.instructions."""
    prepare(session)
    install_tools(session)
    session.run("python", "-m", "benchmarks.instructions", *session.posargs)


@nox.session(python=NEWEST, venv_backend="venv")
def wheels(session: nox.Session) -> None:
    """Build the source distribution and all wheels into dist, and check them; after -- options of python -m wheels."""
    session.install("--require-hashes", "-r", "wheels/requirements.txt")
    session.run("python", "-m", "wheels", *session.posargs)


@nox.session(name="wheels-tried", venv_backend="none")
def wheels_tried(session: nox.Session) -> None:
    """Use the wheels in dist in bare Debian systems, as root; after -- which ones: bookworm trixie:arm64."""
    session.run("python3", "-m", "wheels.trees", *(session.posargs or ["bookworm", "sid"]), external=True)


@nox.session(venv_backend="none")
def newcomer(session: nox.Session) -> None:
    """Do in a bare Debian system, as root, what the pages tell a newcomer to do; after -- the system, trixie, and options."""
    session.run("python3", "-m", "wheels.newcomer", *session.posargs, external=True)
