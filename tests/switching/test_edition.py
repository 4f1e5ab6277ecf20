"""Which edition runs, and what is said where it is the pure one and nobody asked for that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from repository import ROOT

from edgeloop import __version__

pytestmark = pytest.mark.edgeloop_only

WHICH = "import edgeloop; print(edgeloop.EDITION, edgeloop.EventLoop.create_task)"


def is_built() -> bool:
    from edgeloop._edition import _shared_object

    return _shared_object() is not None


NO_CHOICE = "elsewhere there is the pure edition alone, and no warning"
has_a_choice = pytest.mark.skipif(sys.implementation.name != "cpython", reason=NO_CHOICE)
needs_the_build = pytest.mark.skipif(not is_built(), reason="nothing is compiled in this checkout")


def python(*arguments: str, directory: Path, path: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run this Python in ``directory`` with ``path`` on its path, and nobody's choice of an edition."""
    env = {name: value for name, value in os.environ.items() if name != "EDGELOOP_PURE"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=env | {"PYTHONPATH": str(path)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with this package in it, as installed."""
    if sys.implementation.name != "cpython":
        pytest.skip(NO_CHOICE)
    shutil.copytree(ROOT / "edgeloop", tmp_path / "site" / "edgeloop", ignore=shutil.ignore_patterns("__pycache__"))
    for file in compiled_files(tmp_path / "site"):
        if not file.name.endswith(EXTENSION_SUFFIXES[0]):
            file.unlink()  # the checkout is built for other Pythons too
    return tmp_path / "site"


def pure_with_a_warning(site: Path, **environment: str) -> str:
    """The warning that an import gives. The edition it is about is whole and runs."""
    program = f"import asyncio\n{WHICH}\nedgeloop.run(asyncio.sleep(0))"
    done = python("-c", program, directory=site.parent, path=site, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pure <function ")
    assert done.stderr.count("RuntimeWarning") == 1
    assert "<string>:2: RuntimeWarning: edgeloop runs as its pure edition" in done.stderr  # whose import it was
    assert "EDGELOOP_PURE=1" in done.stderr
    return done.stderr


def compiled_files(site: Path) -> list[Path]:
    return sorted((site / "edgeloop").rglob("*.so"))


def test_what_is_installed_without_a_compiler_says_so(site: Path) -> None:
    for file in compiled_files(site):
        file.unlink()
    said = pure_with_a_warning(site)
    assert f"nothing is compiled in {site / 'edgeloop'}" in said
    assert "install a C compiler" in said


def test_a_checkout_where_nothing_is_compiled_says_how(site: Path) -> None:
    for file in compiled_files(site):
        file.unlink()
    (site / "setup.py").touch()
    assert f"pip install -e {site}" in pure_with_a_warning(site)


@needs_the_build
def test_a_checkout_that_hides_the_compiled_package_says_which(site: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(site / "edgeloop", checkout / "edgeloop", ignore=shutil.ignore_patterns("*.so"))
    (checkout / "setup.py").touch()
    done = python("-c", WHICH, directory=checkout, path=site)
    assert done.stdout.startswith("pure ")
    assert f"{checkout / 'edgeloop'} hides the compiled edgeloop in {site / 'edgeloop'}" in done.stderr
    done = python("-P", "-c", WHICH, directory=checkout, path=site)  # the remedy it names
    assert (done.stdout.split()[0], done.stderr) == ("compiled", "")


@needs_the_build
def test_a_module_that_is_missing_is_named(site: Path) -> None:
    (site / "edgeloop" / "_novelty.py").touch()
    (site / "edgeloop" / "_novelty.pxd").touch()
    assert "modules are not compiled, edgeloop._novelty is one" in pure_with_a_warning(site)


@needs_the_build
def test_a_module_that_is_compiled_no_longer_is_named(site: Path) -> None:
    (types,) = (site / "edgeloop").rglob("watch.pxd")
    types.unlink()
    module = ".".join(types.relative_to(site).with_suffix("").parts)
    assert f"{module} is compiled, but no longer" in pure_with_a_warning(site)


@needs_the_build
def test_a_shared_object_of_another_version_is_named(site: Path) -> None:
    (site / "edgeloop" / "_version.py").write_text('__version__ = "9.8.7"\n')
    assert f"is that of edgeloop {__version__}, and this is 9.8.7" in pure_with_a_warning(site)


@needs_the_build
def test_an_installation_without_the_compilers_files_is_compiled(site: Path) -> None:
    for file in [*(site / "edgeloop").rglob("*.pxd"), *(site / "edgeloop").rglob("*.pyx")]:
        file.unlink()
    done = python("-W", "error", "-c", WHICH, directory=site, path=site)
    assert (done.stdout.split()[0], done.stderr) == ("compiled", "")


@needs_the_build
def test_modules_of_another_python_are_named(site: Path) -> None:
    for file in compiled_files(site):
        file.rename(file.with_name(file.name.replace(EXTENSION_SUFFIXES[0], ".cpython-38-x86_64-linux-gnu.so")))
    said = pure_with_a_warning(site)
    assert "compiled for another Python (_compiled.cpython-38-x86_64-linux-gnu.so)" in said


@needs_the_build
def test_a_shared_object_that_does_not_load_is_said_to(site: Path) -> None:
    (file,) = compiled_files(site)
    file.write_bytes(b"not a library")
    assert "can't be imported (ImportError: " in pure_with_a_warning(site)


@needs_the_build
@pytest.mark.parametrize("last", ["loop/signals.py", "streams/__init__.py"])
def test_a_module_that_does_not_load_leaves_no_others_behind(site: Path, last: str) -> None:
    """One that is not compiled, and works with the pure edition only."""
    file = site / "edgeloop" / last
    refusal = "import sys\nif 'edgeloop._compiled' in sys.modules:\n    raise ImportError('refused')\n"
    file.write_text(file.read_text() + refusal)
    assert "can't be imported (ImportError: refused)" in pure_with_a_warning(site)


@needs_the_build
def test_all_compiled_modules_are_in_one_file(site: Path) -> None:
    program = (
        "import importlib, edgeloop, edgeloop._compiled as compiled\n"
        "for name in compiled.MODULES.split():\n"
        "    module = importlib.import_module(name)\n"
        "    print(module.__name__ == module.__spec__.name == name, module.__file__ == compiled.__file__)"
    )
    done = python("-W", "error", "-c", program, directory=site, path=site)
    assert (set(done.stdout.splitlines()), done.stderr) == ({"True True"}, "")


@needs_the_build
def test_what_is_compiled_is_what_has_types_for_cython(site: Path) -> None:
    program = "import edgeloop._compiled; print(edgeloop._compiled.MODULES)"
    built = python("-c", program, directory=site, path=site).stdout.split()
    named = {
        ".".join(path.relative_to(site).with_suffix("").parts)
        for path in (site / "edgeloop").rglob("*.p[xy][xd]")
        if path.suffix == ".pyx" or (path.stem != "__init__" and path.with_suffix(".py").exists())
    }
    assert set(built) == named | {"edgeloop._cyutility"}


@pytest.mark.parametrize("word", ["1", "true", "yes", "on", "TRUE", " Yes "])
def test_the_pure_edition_that_was_asked_for_is_quiet(word: str) -> None:
    done = python("-W", "error", "-c", WHICH, directory=ROOT, path=ROOT, EDGELOOP_PURE=word)
    assert (done.stdout.split()[0], done.stderr) == ("pure", "")


@has_a_choice
@needs_the_build
@pytest.mark.parametrize("word", ["", "0", "false", "no", "off", "False"])
def test_words_that_mean_no_leave_the_compiled_edition(word: str) -> None:
    done = python("-W", "error", "-c", WHICH, directory=ROOT, path=ROOT, EDGELOOP_PURE=word)
    assert (done.stdout.split()[0], done.stderr) == ("compiled", "")


@pytest.mark.parametrize("word", ["2", "pure", "nope", "compiled"])
def test_any_other_word_is_refused(word: str) -> None:
    done = python("-c", WHICH, directory=ROOT, path=ROOT, EDGELOOP_PURE=word)
    assert done.returncode == 1
    assert f"ValueError: EDGELOOP_PURE={word!r}" in done.stderr
    done = python("setup.py", "--version", directory=ROOT, path=ROOT, EDGELOOP_PURE=word)
    assert done.returncode == 1
    assert f"EDGELOOP_PURE={word!r}" in done.stderr


@has_a_choice
def test_a_word_for_debug_information_is_refused_that_says_neither_yes_nor_no() -> None:
    done = python("setup.py", "--version", directory=ROOT, path=ROOT, EDGELOOP_DEBUG="maybe")
    assert done.returncode == 1
    assert "EDGELOOP_DEBUG='maybe'" in done.stderr
