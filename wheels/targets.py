"""What wheels there are: a Python and a platform each, and the headers that the two need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")

#: The oldest C library that the wheels run on. RHEL 7 has 2.17; no release of pip that knows Python 3.11 asks for less.
OLDEST_GLIBC = (2, 17)
#: musl's names of its version are pip's: Alpine 3.13 and newer.
OLDEST_MUSL = (1, 2)

# Of pyconfig.h, what is true on x86_64 alone. The two platforms agree in the rest: sizes, alignments and the C library's
# functions. Both names are read by the interpreter's own sources only.
_OF_X86 = re.compile(r"^#define HAVE_GCC_ASM_FOR_X(64|87) 1$", re.M)


@dataclass(frozen=True)
class Platform:
    """A processor and a C library: x86_64 or aarch64, gnu or musl."""

    machine: str
    libc: str

    def __str__(self) -> str:
        return f"{self.machine}-{self.libc}"

    @property
    def compiler_target(self) -> str:
        """The name by which the compiler knows it."""
        version = f".{OLDEST_GLIBC[0]}.{OLDEST_GLIBC[1]}" if self.libc == "gnu" else ""
        return f"{self.machine}-linux-{self.libc}{version}"

    @property
    def tags(self) -> tuple[str, ...]:
        """The platform tags of its wheels, PEP 600 and PEP 656."""
        if self.libc == "musl":
            return (f"musllinux_{OLDEST_MUSL[0]}_{OLDEST_MUSL[1]}_{self.machine}",)
        return (f"manylinux_{OLDEST_GLIBC[0]}_{OLDEST_GLIBC[1]}_{self.machine}", f"manylinux2014_{self.machine}")


PLATFORMS = tuple(Platform(machine, libc) for libc in ("gnu", "musl") for machine in ("x86_64", "aarch64"))


@dataclass(frozen=True)
class Target:
    """A wheel with a shared object: for a Python on a platform."""

    python: str
    platform: Platform

    def __str__(self) -> str:
        return f"{self.python} {self.platform}"

    @property
    def abi(self) -> str:
        """The tag of the interpreter, and of its ABI: cp313."""
        return f"cp{self.python.replace('.', '')}"

    @property
    def tag(self) -> str:
        """The tag in the wheel's name."""
        return f"{self.abi}-{self.abi}-{'.'.join(self.platform.tags)}"

    @property
    def shared_object(self) -> str:
        """The name that the interpreter looks for."""
        return f"_compiled.cpython-{self.abi[2:]}-{self.platform.machine}-linux-{self.platform.libc}.so"


def include_folders(python: str) -> Iterator[Path]:
    """Yield the folders that may hold the headers of a Python: those in EDGELOOP_HEADERS, pyenv's, PATH's."""
    for folder in os.environ.get("EDGELOOP_HEADERS", "").split(":"):
        if folder:
            yield Path(folder, f"python{python}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    yield from (folder / "include" / f"python{python}" for folder in sorted(pyenv.glob(f"{python}.*"), reverse=True))
    if (interpreter := shutil.which(f"python{python}")) is not None:
        script = "import sysconfig; print(sysconfig.get_path('include'))"
        asked = subprocess.run([interpreter, "-c", script], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            yield Path(asked.stdout.strip())


def headers_of(python: str) -> Path | None:
    """Return the folder with the headers of a Python, None if there is none here."""
    return next((folder for folder in include_folders(python) if (folder / "Python.h").exists()), None)


def pyconfig_of(headers: Path, platform: Platform) -> str:
    """Return the pyconfig.h for this platform, from that of a Python for Linux on x86_64."""
    text = (headers / "pyconfig.h").read_text()
    # Debian's only includes the right one, from a folder for each architecture.
    if redirected := re.search(r"^#\s*include <(x86_64-linux-gnu/.*/pyconfig\.h)>$", text, re.M):
        text = (headers.parent / redirected[1]).read_text()
    return _OF_X86.sub("", text) if platform.machine != "x86_64" else text


def copy_headers(headers: Path, platform: Platform, folder: Path) -> Path:
    """Copy the headers of a Python into ``folder``, with the pyconfig.h of the platform."""
    shutil.copytree(headers, folder, ignore=shutil.ignore_patterns("pyconfig.h"))
    (folder / "pyconfig.h").write_text(pyconfig_of(headers, platform))
    return folder
