"""python -m wheels.newcomer RELEASE: installs edgeloop in a bare Debian system as its pages say, and runs what they show.

Three ways, each in an environment of its own: the wheel of ``--dist`` that fits the system's Python; ``pip install .`` in a
clone where there is no compiler; the same after ``apt-get install gcc python3-dev``. What pip and the import say is printed,
and compared with what the pages promise. With the wheel, the tests of README and of docs/switching-on.md run those pages'
programs and commands, in a folder without edgeloop's sources: aiohttp, uvicorn, gunicorn, hypercorn, anyio, trio, pytest.
The system is made once, in ``--trees``; it takes root.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from . import build
from .trees import copy_settings, in_tree, make_tree, mounted

#: What the pages' programs use.
PROJECTS = (
    *("aiohttp", "anyio", "trio", "uvicorn", "uvicorn-worker", "gunicorn", "hypercorn"),
    *("pytest", "pytest-asyncio"),
)
#: The tests that run what is on the pages, and what they need of the clone.
PAGES = ("tests/examples/test_readme.py", "tests/switching/test_switching_on.py")
NEEDED = ("README.md", "pyproject.toml", "docs", "benchmarks/results", "tests/conftest.py", "tests/support")

HOME = "/newcomer"
COMPILER = ("gcc", "python3-dev")
EDITION = "import edgeloop; print(edgeloop.EDITION, edgeloop.__file__)"


def expect(said: str, *words: str) -> None:
    """Print what was said. Raise SystemExit if one of the words isn't in it."""
    print("".join(f"    {line}\n" for line in said.splitlines() if line), end="", flush=True)
    if missing := [word for word in words if word not in said]:
        sys.exit(f"not said: {missing}")


def step(title: str) -> None:
    print(f"  {title}", flush=True)


class Newcomer:
    """Who uses a bare system: in environments below HOME, and in a folder of their own."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.home = tree / HOME[1:]
        shutil.rmtree(self.home, ignore_errors=True)
        (self.home / "folder").mkdir(parents=True)

    def run(self, folder: str, *command: str, **environment: str) -> str:
        return in_tree(self.tree, "sh", "-c", f'cd {HOME}/{folder} && exec "$@"', "sh", *command, **environment)

    def environment(self, name: str) -> str:
        """Make a virtual environment. Return its Python."""
        self.run("", "python3", "-m", "venv", f"{HOME}/{name}")
        return f"{HOME}/{name}/bin/python"

    def clone(self) -> None:
        """Bring the files that git knows into the folder ``clone``."""
        shutil.rmtree(self.home / "clone", ignore_errors=True)
        self.copy("clone", ".")

    def copy(self, folder: str, *paths: str) -> None:
        listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
        names = subprocess.run(listing, cwd=build.ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (build.ROOT / name).is_file():
                target = self.home / folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(build.ROOT / name, target)

    def try_wheel(self, dist: Path) -> None:
        """Install the wheel without a compiler, and run the pages' programs."""
        shutil.copytree(dist, self.home / "dist", ignore=lambda _, names: {n for n in names if not n.endswith(".whl")})
        python = self.environment("of-wheel")
        step("pip install edgeloop (the wheel, no compiler)")
        expect(
            self.run(
                "folder", python, "-m", "pip", "install", "--no-index", "--find-links", f"{HOME}/dist", "edgeloop"
            ),
            "Successfully installed edgeloop",
        )
        expect(self.run("folder", python, "-W", "error", "-c", EDITION), "compiled")
        expect(self.run("folder", python, "-m", "edgeloop", "--version"), "edgeloop ")
        step(f"pip install {' '.join(PROJECTS)}, and the programs of README and switching-on.md")
        self.run("folder", python, "-m", "pip", "install", "-q", *PROJECTS)
        self.copy("pages", *NEEDED, *PAGES)
        options = ("-q", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function")
        said = self.run("pages", python, "-m", "pytest", *options, *PAGES)
        expect("\n".join(said.splitlines()[-8:]), " passed")

    def try_clone(self, compiler: bool) -> None:
        """Install a clone, with or without a compiler; then start Python beside the sources, and elsewhere."""
        self.clone()
        python = self.environment("with-compiler" if compiler else "without-compiler")
        step(f"git clone, pip install . ({'with' if compiler else 'no'} compiler)")
        expect(self.run("clone", python, "-m", "pip", "install", "."), "Successfully installed edgeloop")
        elsewhere = self.run("folder", python, "-c", EDITION)
        beside = self.run("clone", python, "-c", EDITION)
        if not compiler:
            words = ("pure", "RuntimeWarning", "gcc and python3-dev", "EDGELOOP_PURE=1")
            expect(elsewhere, *words)
            expect(beside, "pure", "RuntimeWarning", "compile it: ", "EDGELOOP_PURE=1")
            expect(self.run("folder", python, "-W", "error", "-c", EDITION, EDGELOOP_PURE="1"), "pure")
            return
        expect(elsewhere, "compiled")
        if "RuntimeWarning" in elsewhere:
            sys.exit("the compiled edition warns of something")
        expect(beside, "pure", "RuntimeWarning", "hides the compiled edgeloop in", "-P")
        expect(self.run("clone", python, "-P", "-W", "error", "-c", EDITION), "compiled")
        step("pip install -e .")
        expect(self.run("clone", python, "-m", "pip", "install", "-e", "."), "Successfully installed edgeloop")
        expect(self.run("clone", python, "-W", "error", "-c", EDITION), "compiled", "/clone/")

    def get_compiler(self) -> None:
        step(f"apt-get install {' '.join(COMPILER)}")
        self.run("", "apt-get", "update", "-qq")
        self.run("", "apt-get", "install", "-y", "-qq", *COMPILER, DEBIAN_FRONTEND="noninteractive")

    def drop_compiler(self) -> None:
        """What an earlier run has left."""
        if (self.tree / "usr/bin/gcc").exists():
            self.run("", "apt-get", "purge", "-y", "-qq", "--autoremove", *COMPILER, DEBIAN_FRONTEND="noninteractive")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("wheels.newcomer", description=__doc__)
    parser.add_argument("release", nargs="?", default="trixie", help="of Debian: trixie")
    parser.add_argument("--dist", type=Path, default=build.ROOT / "dist", help="where the wheels are: dist")
    parser.add_argument("--trees", type=Path, default=build.ROOT / "build/trees", help="where the systems are kept")
    options = parser.parse_args(arguments)
    options.trees.mkdir(parents=True, exist_ok=True)
    tree = options.trees.resolve() / options.release
    make_tree(tree, options.release, "")
    copy_settings(tree)
    with mounted(tree):
        newcomer = Newcomer(tree)
        print(f"{options.release}: {newcomer.run('', 'python3', '-VV').strip()}", flush=True)
        newcomer.drop_compiler()
        newcomer.try_wheel(options.dist)
        newcomer.try_clone(compiler=False)
        newcomer.get_compiler()
        newcomer.try_clone(compiler=True)
    print(f"{options.release}: all said and done as the pages promise", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
