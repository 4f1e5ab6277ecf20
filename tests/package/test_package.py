"""What ``pip install`` makes of the project: sdist, wheel, both editions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only


MAX_BYTES = 3_300_000  # unpacked, Python files included; gcc 16 makes the largest shared object, 3.23 MB in all


def output(*command: str, directory: Path, **environment: str) -> str:
    env = {name: value for name, value in os.environ.items() if name not in ("EDGELOOP_PURE", "PYTHONPATH")}
    done = subprocess.run(
        command, cwd=directory, env=env | environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this tree, unpacked."""
    directory = tmp_path_factory.mktemp("sdist")
    source = directory / "source"
    unwanted = shutil.ignore_patterns("*.so", "*.c", "__pycache__", "*.egg-info", "build", ".*")
    for name in ("edgeloop", "pytest_edgeloop.py", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, source / name)
    output(sys.executable, "setup.py", "-q", "sdist", "-d", str(directory), directory=source)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(directory)
    return directory / archive.name.removesuffix(".tar.gz")


def build(source: Path, directory: Path, **environment: str) -> Path:
    """The wheel that pip builds from the source distribution, installed into a folder of its own."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    wheels = directory / "wheels"
    tree = shutil.copytree(source, directory / "tree")
    output(
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(wheels),
        str(tree),
        directory=directory,
        **environment,
    )
    (wheel,) = wheels.glob("*.whl")
    output(*pip, "install", "--no-deps", "-t", str(directory / "site"), str(wheel), directory=directory)
    return wheel


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def edition(directory: Path, **environment: str) -> str:
    script = "import asyncio, edgeloop; edgeloop.run(asyncio.sleep(0)); print(edgeloop.EDITION, edgeloop.__file__)"
    found, file = output(
        sys.executable, "-c", script, directory=directory, PYTHONPATH=str(directory / "site"), **environment
    ).split()
    assert file.startswith(str(directory))
    return found


def warnings_of_two_imports(directory: Path, environment: dict[str, str]) -> int:
    """How often a program that imports and runs edgeloop twice is told that the pure edition runs, and what helps."""
    (directory / "other.py").write_text("import edgeloop.loop\n")
    program = directory / "program.py"
    program.write_text("import asyncio\nimport edgeloop\nimport other\nedgeloop.run(asyncio.sleep(0))\n" * 2)
    env = {name: value for name, value in os.environ.items() if name != "EDGELOOP_PURE"} | environment
    env["PYTHONPATH"] = str(directory / "site")
    done = subprocess.run(
        (sys.executable, program.name), cwd=directory, env=env, capture_output=True, text=True, check=True
    )
    told = done.stderr.count("edgeloop runs as its pure edition")
    assert done.stderr.count("install a C compiler") == told
    return told


def test_sdist_is_complete(sdist: Path) -> None:
    for path in (ROOT / "edgeloop").rglob("*"):
        if path.suffix in (".py", ".pyx", ".pxd", ".typed"):
            assert (sdist / path.relative_to(ROOT)).exists(), f"{path} is not in the source distribution"
    assert (sdist / "LICENSE").exists()
    assert (sdist / "pytest_edgeloop.py").exists()
    assert not list(sdist.rglob("*.so"))


@pytest.mark.skipif(
    os.environ.get("EDGELOOP_PURE") == "1",
    reason="half a minute of compiling, which the compiled edition's run has done",
)
def test_wheel_is_compiled_and_complete(sdist: Path, tmp_path: Path) -> None:
    wheel = build(sdist, tmp_path, CFLAGS="-O0")  # it need not be fast
    contents = names(wheel)
    (shared_object,) = [name for name in contents if name.endswith(".so")]
    assert shared_object.startswith("edgeloop/_compiled.cpython-")
    assert "edgeloop/py.typed" in contents
    assert "edgeloop/transports/stream.py" in contents  # the pure edition of the same installation
    assert not [name for name in contents if name.endswith((".pxd", ".pyx"))]  # what the compiler alone reads
    assert edition(tmp_path) == "compiled"
    assert edition(tmp_path, EDGELOOP_PURE="1") == "pure"
    assert edition(tmp_path, EDGELOOP_PURE="0") == "compiled"


def test_a_compiled_installation_is_small() -> None:
    """The checkout's shared object, which is built as in a wheel, and all that a wheel brings beside it."""
    shared_objects = [ROOT / "edgeloop" / f"_compiled{suffix}" for suffix in EXTENSION_SUFFIXES]
    built = [path for path in shared_objects if path.exists()]
    if not built:
        pytest.skip("nothing is compiled in this checkout")
    if b".debug_info" in built[0].read_bytes():
        pytest.skip("built with debug information")
    sources = [*(ROOT / "edgeloop").rglob("*.py"), ROOT / "pytest_edgeloop.py"]
    assert sum(path.stat().st_size for path in [*built, *sources, ROOT / "README.md"]) < MAX_BYTES


@pytest.mark.parametrize(
    "environment", [{"EDGELOOP_PURE": "1"}, {"CC": "/nowhere/cc"}], ids=["asked for", "without a compiler"]
)
def test_pure_wheel(sdist: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    wheel = build(sdist, tmp_path, **environment)
    assert not [name for name in names(wheel) if name.endswith(".so")]
    assert edition(tmp_path) == "pure"
    assert warnings_of_two_imports(tmp_path, environment) == (0 if "EDGELOOP_PURE" in environment else 1)
    suite = tmp_path / "test_nothing.py"
    suite.write_text("def test_nothing():\n    pass\n")
    said = output(
        sys.executable,
        *("-m", "pytest", "-p", "no:cacheprovider", "--edgeloop", suite.name),
        directory=tmp_path,
        PYTHONPATH=str(tmp_path / "site"),
        **environment,
    )
    assert "pure edition, is the loop" in said  # the wheel brings its pytest plugin with it


def test_a_half_compiled_installation_runs_pure(tmp_path: Path) -> None:
    """A compiled module calls its neighbours through C: one that is missing must not leave the others half connected."""
    shutil.copytree(ROOT / "edgeloop", tmp_path / "site" / "edgeloop")
    (tmp_path / "site" / "edgeloop" / "_novelty.pyx").touch()
    assert edition(tmp_path) == "pure"


def test_other_systems_are_refused_with_a_sentence(tmp_path: Path) -> None:
    script = (
        "import sys; sys.platform = 'darwin'\ntry:\n    import edgeloop\nexcept ImportError as exc:\n    print(exc)"
    )
    said = output(sys.executable, "-c", script, directory=tmp_path, PYTHONPATH=str(ROOT))
    assert said == "edgeloop needs Linux, for epoll; this is darwin\n"
