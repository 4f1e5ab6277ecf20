"""Makes the source distribution, and the wheels from it.

A wheel for a platform is the pure wheel, the shared object of one Python, and the tags of both. setup.py makes the shared
object, as it does for ``pip install``; the compiler (zig cc, which is clang with the C libraries' headers) and the Python's
headers are given to it. So one machine makes all wheels, and the interpreters need not be there.

What is made depends on the sources, on the environment's packages (requirements.txt), and on the headers alone.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from . import archive, sbom
from .targets import Target, copy_headers

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("Cython", "setuptools", "ziglang")


class BuildError(Exception):
    """Something was not built; the message says what and why."""


def _run(*command: str | Path, folder: Path, **environment: str) -> str:
    # Whoever has set these for a build of their own doesn't mean this one.
    unwanted = ("EDGELOOP_PURE", "EDGELOOP_DEBUG", "EDGELOOP_SANITIZE", "CFLAGS", "LDFLAGS", "CPPFLAGS", "PYTHONPATH")
    inherited = {name: value for name, value in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        command, cwd=folder, env=inherited | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise BuildError(f"{' '.join(map(str, command))} failed:\n{done.stdout}")
    return done.stdout


def tools() -> dict[str, str]:
    """Return the names and versions of what the wheels are built with."""
    return {name: importlib.metadata.version(name) for name in TOOLS}


def epoch() -> int:
    """Return SOURCE_DATE_EPOCH, or the time of the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    return int(_run("git", "log", "-1", "--format=%ct", folder=ROOT))


def make_sdist(folder: Path, work: Path, moment: int) -> Path:
    """Make the source distribution of the files that git knows."""
    source = work / "source"
    for name in _run("git", "ls-files", "-z", folder=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    _run(sys.executable, "-m", "build", "-q", "--sdist", "--no-isolation", "-o", work, folder=source)
    (made,) = work.glob("edgeloop-*.tar.gz")
    archive.rewrite_sdist(made, folder / made.name, moment)
    return folder / made.name


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack a source distribution. Return its root."""
    with tarfile.open(sdist) as tar:
        tar.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def _tree(sdist: Path, folder: Path) -> Path:
    """Return the unpacked source distribution in this folder, the same one for each target: Cython's work is done once."""
    tree = folder / sdist.name.removesuffix(".tar.gz")
    return tree if tree.exists() else unpack(sdist, folder)


def make_shared_object(sdist: Path, target: Target, headers: Path, work: Path) -> bytes:
    """Return the shared object for a Python on a platform."""
    tree = _tree(sdist, work)
    include, made = work / "include" / str(target), work / "made" / str(target)
    shutil.rmtree(include, ignore_errors=True)
    copy_headers(headers, target.platform, include)
    compiler = f"{sys.executable} -m ziglang cc -target {target.platform.compiler_target}"
    said = _run(
        sys.executable,
        *("setup.py", "-q", "build_ext", "--build-lib", made, "--build-temp", work / "temporary"),
        folder=tree,
        CC=compiler,
        LDSHARED=f"{compiler} -shared",
        CFLAGS=f"-I'{include}'",  # before those of the Python that runs this
        LDFLAGS="-ldl" if target.platform.libc == "gnu" else "",  # a library of its own until glibc 2.34
    )
    found = list(made.rglob("_compiled*.so"))
    if len(found) != 1:
        raise BuildError(f"no shared object was made for {target}:\n{said}")
    return found[0].read_bytes()


def make_pure_files(sdist: Path, work: Path) -> dict[str, bytes]:
    """Return what is in the pure wheel, by name."""
    tree = unpack(sdist, work / "pure")
    wheels = work / "pure" / "wheels"
    _run(
        *(sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "-o", wheels),
        folder=tree,
        EDGELOOP_PURE="1",
    )
    (wheel,) = wheels.glob("*.whl")
    return archive.read_wheel(wheel)


def write_wheel(folder: Path, pure: Mapping[str, bytes], target: Target | None, contents: bytes, moment: int) -> Path:
    """Write the wheel of a target, with its shared object; the pure wheel without one."""
    metadata = archive.metadata_folder(pure)
    name, version = metadata.removesuffix(".dist-info").split("-")
    tag = "py3-none-any" if target is None else target.tag
    files = dict(pure)
    files[f"{metadata}/WHEEL"] = archive.retagged(files[f"{metadata}/WHEEL"], tag)
    files[f"{metadata}/sboms/{sbom.NAME}"] = sbom.bill(version, moment, contents, tools(), tag)
    if target is not None:
        files[f"{name}/{target.shared_object}"] = contents
    path = folder / f"{name}-{version}-{tag}.whl"
    archive.write_wheel(path, files, moment)
    return path
