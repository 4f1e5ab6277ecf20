"""What a project's suite runs in: a virtual environment with the project and edgeloop, and its tests, laid out.

Kept in the user's cache folder: the environment as long as what it is made from stays the same, a wheel of edgeloop for
each state of its sources, each sdist once. Built from the registry alone, through pip.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .control import cache
from .recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "{}.{}".format(*sys.version_info[:2])

#: What is copied into site-packages, and under which name.
_SITE_MODULES = {
    "startup.py": "edgeloop_compat_startup.py",
    "plugin.py": "edgeloop_compat_plugin.py",
    "pages.py": "edgeloop_compat_pages.py",
}


class Environment:
    """A recipe's virtual environment: ``prepare`` makes it, ``python`` is its interpreter."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.constraints = recipe.folder / "constraints.txt"
        made_from = json.dumps([recipe.package, recipe.version, recipe.extras, recipe.requirements, sys.version])
        if self.constraints.exists():
            made_from += self.constraints.read_text()
        digest = hashlib.sha256(made_from.encode()).hexdigest()[:12]
        self.folder = cache() / "compat-environments" / f"{recipe.name}-{PYTHON}-{digest}"
        self.python = self.folder / "bin" / "python"

    def prepare(self, *, pinned: bool = True) -> None:
        """Make the environment if it isn't there, and put the present edgeloop into it. CalledProcessError if pip fails.

        ``pinned``: with the versions that constraints.txt says; else the newest there are, whatever is there already.
        """
        _install_programs(self.recipe)
        with _locked(self.folder):
            ready = self.folder / "ready"
            if not pinned or not ready.exists():
                shutil.rmtree(self.folder, ignore_errors=True)
                _run(sys.executable, "-m", "venv", self.folder)
                self._install(pinned)
                ready.touch()
            self._put_edgeloop()

    def _install(self, pinned: bool) -> None:
        wanted = list(self.recipe.requirements)
        if self.recipe.package:
            extras = f"[{','.join(self.recipe.extras)}]" if self.recipe.extras else ""
            wanted.append(f"{self.recipe.package}{extras}=={self.recipe.version}")
        constrained: list[str | Path] = ["-c", self.constraints] if pinned and self.constraints.exists() else []
        _pip(self.python, "install", *constrained, "pytest", *wanted)

    def _put_edgeloop(self) -> None:
        wheel = edgeloop_wheel()
        marker = self.folder / "edgeloop"
        if not marker.exists() or marker.read_text() != str(wheel):
            _pip(self.python, "install", "--no-deps", "--force-reinstall", wheel)
            marker.write_text(str(wheel))
        site = Path(_output(self.python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
        for source, name in _SITE_MODULES.items():
            shutil.copyfile(Path(__file__).with_name(source), site / name)
        (site / "edgeloop_compat.pth").write_text("import edgeloop_compat_startup\n")

    def lock(self) -> None:
        """Write constraints.txt: the versions that are installed now, but for edgeloop and the project itself."""
        frozen = _output(self.python, "-m", "pip", "freeze", "--all").splitlines()
        ours = {"edgeloop", "pip", "setuptools", self.recipe.package.lower().replace("_", "-")}
        kept = [
            line for line in frozen if line.partition("==")[0].lower().replace("_", "-") not in ours and "==" in line
        ]
        self.constraints.write_text("\n".join([*kept, ""]))

    def lay_out(self, folder: Path) -> None:
        """Put the tests into ``folder``: what the recipe takes of the sdist, and below ``own`` the tests of our own."""
        if self.recipe.tests:
            with tempfile.TemporaryDirectory(dir=folder) as unpacked:
                top = _unpack(self._sdist(), Path(unpacked))
                for name in self.recipe.take or [entry.name for entry in top.iterdir()]:
                    source, target = top / name, folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    if source.is_dir():
                        shutil.copytree(source, target, symlinks=True)
                    else:
                        shutil.copy(source, target)
        if self.recipe.own_tests:
            apart = shutil.ignore_patterns("recipe.toml", "expectations.toml", "constraints.txt", "__pycache__")
            shutil.copytree(self.recipe.folder, folder / "own", ignore=apart)

    def _sdist(self) -> Path:
        recipe = self.recipe
        folder = cache() / "compat-sdists" / f"{recipe.package}-{recipe.version}"
        with _locked(folder):
            if not folder.exists():
                with tempfile.TemporaryDirectory() as temporary:
                    wanted = Path(temporary) / "requirement.txt"
                    wanted.write_text(f"{recipe.package}=={recipe.version} --hash=sha256:{recipe.sha256}\n")
                    target = Path(temporary) / "sdist"
                    # Not ":all:", which would build what the project is built with, such as Cython, from source too.
                    only_sdist = ["--no-deps", "--no-binary", recipe.package, "--require-hashes"]
                    _pip(self.python, "download", *only_sdist, "-d", target, "-r", wanted)
                    shutil.move(target, folder)
        (found,) = folder.iterdir()
        if hashlib.sha256(found.read_bytes()).hexdigest() != recipe.sha256:
            raise ValueError(f"{found} has another sha256 than {recipe.name}'s recipe says, {recipe.sha256}")
        return found


def edgeloop_wheel() -> Path:
    """A wheel of edgeloop as it stands here, for this Python; both editions are in it."""
    sources = [ROOT / name for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "pytest_edgeloop.py")]
    sources += sorted(
        path for path in (ROOT / "edgeloop").rglob("*") if path.suffix in (".py", ".pxd", ".pyx", ".typed")
    )
    digest = hashlib.sha256(sys.version.encode())
    for source in sources:
        digest.update(str(source.relative_to(ROOT)).encode() + source.read_bytes())
    folder = cache() / "compat-wheels" / f"{PYTHON}-{digest.hexdigest()[:12]}"
    with _locked(folder):
        if not folder.exists():
            with tempfile.TemporaryDirectory() as temporary:
                for source in sources:
                    copy = Path(temporary) / "source" / source.relative_to(ROOT)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, copy)
                _pip(sys.executable, "wheel", "--no-deps", "-w", Path(temporary) / "wheel", Path(temporary) / "source")
                shutil.move(Path(temporary) / "wheel", folder)
    (found,) = folder.iterdir()
    if found.name.endswith("-any.whl"):
        shutil.rmtree(folder)
        raise RuntimeError("the compiled edition could not be built: is there a C compiler?")
    return found


def version_of(recipe: Recipe) -> str:
    """The version that the table names: of the project's release, else of the first of Debian's packages."""
    if recipe.version or not recipe.debian:
        return recipe.version
    return _output("dpkg-query", "-W", "-f", "${Version}", recipe.debian[0])


def _install_programs(recipe: Recipe) -> None:
    """Debian's packages that the recipe needs: installed where that can be done, else named."""
    missing = []
    for package in recipe.debian:
        known = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True)
        if known.stdout != "install ok installed":
            missing.append(package)
    if not missing:
        return
    if os.geteuid() != 0:
        raise RuntimeError(f"{recipe.name} needs Debian's packages {' '.join(missing)}")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet)  # if that fails, older lists may do
    subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=True, env=quiet, stdout=subprocess.DEVNULL)


def _unpack(archive: Path, folder: Path) -> Path:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    else:
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


def _pip(python: Path | str, *arguments: str | Path) -> None:
    _run(python, "-m", "pip", *arguments, "-q", "--disable-pip-version-check")


def _run(*command: str | Path) -> None:
    # The variables of a run must not reach pip: what it builds would be measured, or be the pure edition.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EDGELOOP_")}
    done = subprocess.run(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout[-4000:]}")


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone with ``folder`` among the runs of this user."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
