"""What each archive of a release must be: looked at by the tools that others use, and the shared objects by themselves."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.sections import SymbolTableSection

from . import archive, sbom
from .targets import OLDEST_GLIBC, PLATFORMS, PYTHONS, Target

_MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}
# Of the C library. The interpreter, which has the Py* functions, is no library that is to be looked for.
_LIBRARIES = {"gnu": {"libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0"}, "musl": {"libc.so"}}
# W009: two names at the top, edgeloop and pytest's plugin, are meant.
_CHECKS = (("check-wheel-contents", "--ignore", "W009"), ("twine", "check", "--strict"))


def target_of(wheel: Path) -> Target | None:
    """Return what a wheel is for, None if it is the pure one."""
    targets = (Target(python, platform) for python in PYTHONS for platform in PLATFORMS)
    return next((target for target in targets if wheel.name.endswith(f"-{target.tag}.whl")), None)


def faults_of_shared_object(contents: bytes, target: Target) -> Iterator[str]:
    """Yield what is wrong with a shared object for this target."""
    elf = ELFFile(io.BytesIO(contents))
    if elf["e_machine"] != _MACHINES[target.platform.machine]:
        yield f"it is for {elf['e_machine']}"
    for section in elf.iter_sections():
        if section.name.startswith((".debug", ".zdebug")) or section.name == ".symtab":
            yield f"it has the section {section.name}: it is not stripped"
        if isinstance(section, DynamicSection):
            needed = {tag.needed for tag in section.iter_tags("DT_NEEDED")}
            if more := sorted(needed - _LIBRARIES[target.platform.libc]):
                yield f"it needs {', '.join(more)}"
            if not needed & {"libc.so.6", "libc.so"}:
                yield "it doesn't take the C library from the system: it may have one of its own"
        if isinstance(section, GNUVerNeedSection):
            for _, versions in section.iter_versions():
                for version in versions:
                    found = re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", version.name)
                    if not found or (int(found[1]), int(found[2])) > OLDEST_GLIBC:
                        yield f"it needs {version.name}"
        if isinstance(section, SymbolTableSection) and section.name == ".dynsym":
            for symbol in section.iter_symbols():
                public = symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
                if public and not symbol.name.startswith("PyInit_"):
                    yield f"it gives its symbol {symbol.name} to others"


def faults_of_wheel(wheel: Path) -> Iterator[str]:
    """Yield what is wrong with a wheel."""
    files = archive.read_wheel(wheel)
    metadata, target = archive.metadata_folder(files), target_of(wheel)
    shared_objects = [name for name in files if name.endswith(".so")]
    expected = [] if target is None else [f"edgeloop/{target.shared_object}"]
    if shared_objects != expected:
        yield f"its shared objects are {shared_objects}, not {expected}"
    elif target is not None:
        yield from faults_of_shared_object(files[expected[0]], target)
    if leftovers := [name for name in files if name.endswith((".c", ".o", ".pyc"))]:
        yield f"it has {leftovers[0]}"
    if json.loads(files[f"{metadata}/sboms/{sbom.NAME}"])["bomFormat"] != "CycloneDX":
        yield "its bill of materials is none"
    # auditwheel knows musl by Alpine's name alone, libc.musl-x86_64.so.1. musl's loader takes libc.so for itself everywhere.
    if target is not None and target.platform.libc == "gnu":
        yield from _faults_for_auditwheel(wheel, target)


def _faults_for_auditwheel(wheel: Path, target: Target) -> Iterator[str]:
    command = (sys.executable, "-m", "auditwheel", "show", wheel)
    done = subprocess.run(command, capture_output=True, text=True)
    said = " ".join(done.stdout.split())
    if done.returncode or f'platform tag: "{target.platform.tags[0]}"' not in said:
        yield f"auditwheel says: {said or done.stderr.strip()}"


def check_all(folder: Path) -> list[str]:
    """Return what is wrong with the archives in a folder: nothing, if all is well."""
    wheels, faults = sorted(folder.glob("*.whl")), list[str]()
    for wheel in wheels:
        faults += [f"{wheel.name}: {fault}" for fault in faults_of_wheel(wheel)]
    everything = [*wheels, *folder.glob("*.tar.gz")]
    for tool, *arguments in _CHECKS:
        files = wheels if tool == "check-wheel-contents" else everything
        program = Path(sys.executable).with_name(tool)
        done = subprocess.run([program, *arguments, *files], capture_output=True, text=True)
        if done.returncode:
            faults.append(f"{tool} says:\n{done.stdout}{done.stderr}")
    return faults
