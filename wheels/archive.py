"""Archives whose bytes depend on their contents alone: sorted, with one time, owner and mode for all files."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import tarfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

_FILE = 0o100644
_PROGRAM = 0o100755


def read_wheel(path: Path) -> dict[str, bytes]:
    """Return what is in a wheel, by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def metadata_folder(files: Mapping[str, bytes]) -> str:
    """Return the name of a wheel's .dist-info folder."""
    (folder,) = {name.partition("/")[0] for name in files if name.partition("/")[0].endswith(".dist-info")}
    return folder


def retagged(text: bytes, tag: str) -> bytes:
    """Return the contents of a wheel's WHEEL for the tag in its name."""
    lines = [line for line in text.decode().splitlines() if line and not line.startswith(("Tag:", "Root-Is-Purelib:"))]
    interpreters, abis, platforms = (part.split(".") for part in tag.split("-"))
    lines.append(f"Root-Is-Purelib: {str(platforms == ['any']).lower()}")
    lines += [f"Tag: {python}-{abi}-{name}" for python in interpreters for abi in abis for name in platforms]
    return ("\n".join(lines) + "\n").encode()


def record(files: Mapping[str, bytes], name: str) -> bytes:
    """Return the contents of a wheel's RECORD, which has this name."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for file, data in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow((file, f"sha256={digest}", len(data)))
    rows.writerow((name, "", ""))
    return text.getvalue().encode()


def write_wheel(path: Path, files: Mapping[str, bytes], epoch: int) -> None:
    """Write a wheel. Its RECORD is made anew, and comes last, as PEP 427 recommends."""
    name = f"{metadata_folder(files)}/RECORD"
    contents = {file: files[file] for file in sorted(files) if file != name}
    contents[name] = record(contents, name)
    moment = max(time.gmtime(epoch)[:6], (1980, 1, 1, 0, 0, 0))  # what a zip file can express
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file, data in contents.items():
            info = zipfile.ZipInfo(file, moment)
            info.external_attr = (_PROGRAM if file.endswith(".so") else _FILE) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, whose modes these are
            archive.writestr(info, data)


def rewrite_sdist(source: Path, path: Path, epoch: int) -> None:
    """Write the source distribution ``source`` again, as ``path``."""
    packed = io.BytesIO()
    with (
        tarfile.open(source) as old,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = epoch
            member.mode = 0o755 if member.isdir() else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, epoch) as compressed:
        compressed.write(packed.getvalue())
