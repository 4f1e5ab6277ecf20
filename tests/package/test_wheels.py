"""What ``python -m wheels`` puts together, and the smoke test that its wheels are used by. Nothing is compiled here."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from repository import ROOT

import edgeloop
from wheels import archive, sbom
from wheels.targets import PLATFORMS, PYTHONS, Platform, Target, copy_headers

pytestmark = pytest.mark.edgeloop_only

EPOCH = 1_790_000_000
WHEEL = b"Wheel-Version: 1.0\nGenerator: setuptools\nRoot-Is-Purelib: true\nTag: py3-none-any\n\n"
FILES = {
    "edgeloop/__init__.py": b"'''edgeloop'''\n",
    "edgeloop/_compiled.so": b"\x7fELF",
    "edgeloop-1.dist-info/WHEEL": WHEEL,
    "edgeloop-1.dist-info/RECORD": b"of another wheel",
}
DEBIAN = """\
#if defined(__linux__)
# if defined(__x86_64__) && defined(__LP64__)
#  include <x86_64-linux-gnu/python3.14/pyconfig.h>
# elif defined(__aarch64__)
#  include <aarch64-linux-gnu/python3.14/pyconfig.h>
# endif
#endif
"""


def test_the_same_files_make_the_same_wheel(tmp_path: Path) -> None:
    archive.write_wheel(tmp_path / "one", FILES, EPOCH)
    archive.write_wheel(tmp_path / "other", dict(reversed(FILES.items())), EPOCH)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_wheel_records_what_it_has(tmp_path: Path) -> None:
    archive.write_wheel(tmp_path / "wheel", FILES, EPOCH)
    files = archive.read_wheel(tmp_path / "wheel")
    assert list(files)[-1] == "edgeloop-1.dist-info/RECORD"
    for name, digest, size in csv.reader(io.StringIO(files["edgeloop-1.dist-info/RECORD"].decode())):
        data = files.pop(name)
        if not name.endswith("/RECORD"):
            assert data == FILES[name]
            assert int(size) == len(data)
            assert base64.urlsafe_b64decode(digest.removeprefix("sha256=") + "=") == hashlib.sha256(data).digest()
    assert not files


def test_a_wheel_has_a_tag_for_each_name_of_its_platform() -> None:
    target = Target("3.13", Platform("aarch64", "gnu"))
    assert target.tag == "cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64"
    assert archive.retagged(WHEEL, target.tag).decode().splitlines()[1:] == [
        "Generator: setuptools",
        "Root-Is-Purelib: false",
        "Tag: cp313-cp313-manylinux_2_17_aarch64",
        "Tag: cp313-cp313-manylinux2014_aarch64",
    ]
    assert archive.retagged(WHEEL, "py3-none-any").splitlines() == WHEEL.split(b"\n")[:-2]


def test_each_target_has_a_name_of_its_own() -> None:
    targets = [Target(python, platform) for python in PYTHONS for platform in PLATFORMS]
    assert len({target.tag for target in targets}) == len(targets) == 20
    assert Target("3.11", Platform("x86_64", "musl")).shared_object == "_compiled.cpython-311-x86_64-linux-musl.so"


def test_another_processor_has_headers_of_its_own(tmp_path: Path) -> None:
    headers = tmp_path / "python3.14"
    headers.mkdir()
    (headers / "Python.h").write_text('#include "pyconfig.h"\n')
    (headers / "pyconfig.h").write_text(DEBIAN)
    real = tmp_path / "x86_64-linux-gnu/python3.14/pyconfig.h"
    real.parent.mkdir(parents=True)
    real.write_text("#define HAVE_GCC_ASM_FOR_X64 1\n#define HAVE_GCC_ASM_FOR_X87 1\n#define SIZEOF_LONG 8\n")
    for platform in PLATFORMS:
        copied = copy_headers(headers, platform, tmp_path / str(platform))
        assert (copied / "Python.h").exists()
        text = (copied / "pyconfig.h").read_text()
        assert "#define SIZEOF_LONG 8\n" in text
        assert ("X87" in text) == (platform.machine == "x86_64")


def test_a_source_distribution_tells_nothing_of_its_maker(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder / "edgeloop-1").mkdir(parents=True)
        for name in ("a", "b") if folder == "one" else ("b", "a"):
            (tmp_path / folder / "edgeloop-1" / name).write_text(name)
        with tarfile.open(tmp_path / f"{folder}.tar.gz", "w:gz") as tar:
            for path in (tmp_path / folder / "edgeloop-1").iterdir():
                tar.add(path, f"edgeloop-1/{path.name}")
        archive.rewrite_sdist(tmp_path / f"{folder}.tar.gz", tmp_path / folder / "again", EPOCH)
    assert (tmp_path / "one/again").read_bytes() == (tmp_path / "other/again").read_bytes()
    with tarfile.open(tmp_path / "one/again") as tar:
        assert [(member.name, member.mtime, member.uid) for member in tar] == [
            ("edgeloop-1/a", EPOCH, 0),
            ("edgeloop-1/b", EPOCH, 0),
        ]


def test_a_bill_of_materials_names_what_cython_left() -> None:
    tools = {"Cython": "3.3.1", "ziglang": "0.17.1"}
    compiled = json.loads(sbom.bill("1.0", EPOCH, b"\x7fELF", tools, "cp313"))
    assert [component["purl"] for component in compiled["components"]] == ["pkg:pypi/cython@3.3.1"]
    assert json.loads(sbom.bill("1.0", EPOCH, b"", tools, "py3"))["components"] == []
    assert sbom.bill("1.0", EPOCH, b"", tools, "py3") == sbom.bill("1.0", EPOCH, b"", tools, "py3")


def test_the_smoke_test_passes_here() -> None:
    command = (sys.executable, "-m", "wheels.smoke_test", edgeloop.EDITION)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"edgeloop {edgeloop.__version__}, {edgeloop.EDITION}" in done.stdout
    wrong = "compiled" if edgeloop.EDITION == "pure" else "pure"
    refused = subprocess.run((*command[:-1], wrong), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert f"not the {wrong} one" in refused.stderr
