"""python -m wheels: the source distribution, a pure wheel, and a wheel for each Python and platform, checked."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from . import build, checks
from .targets import PLATFORMS, PYTHONS, Target, headers_of

EPILOG = """\
Headers of a Python are taken from the folders of EDGELOOP_HEADERS (each has a python3.14/Python.h, say), from pyenv's
Pythons, and from those on PATH; they are to be a Linux one's on x86_64. A Python without headers is left out, and named.
The time in the archives is SOURCE_DATE_EPOCH, or that of the last commit.
"""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "wheels", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [str(platform) for platform in PLATFORMS]
    parser.add_argument("--python", nargs="+", choices=PYTHONS, default=PYTHONS, help="these alone")
    parser.add_argument("--platform", nargs="+", choices=names, default=names, help="these alone")
    parser.add_argument(
        "--twice",
        nargs="*",
        choices=names,
        default=[],
        help="build these again, with the two archives that all share, and compare the bytes",
    )
    parser.add_argument(
        "--twice-python", nargs="+", choices=PYTHONS, default=PYTHONS, help="of these alone, with --twice"
    )
    parser.add_argument("--pure", action="store_true", help="the source distribution and the pure wheel alone")
    parser.add_argument("--strict", action="store_true", help="fail if a Python is left out")
    parser.add_argument("--output", type=Path, default=build.ROOT / "dist", help="the folder, which is emptied: dist")
    return parser.parse_args(arguments)


def compare(archive: Path, other: Path) -> None:
    """Raise BuildError if two builds gave other bytes."""
    if archive.read_bytes() != other.read_bytes():
        raise build.BuildError(f"{archive.name}: another build, in another folder, gave other bytes")
    print(f"{archive.name}, the same bytes twice", flush=True)


def make_all(options: argparse.Namespace, work: Path) -> list[str]:
    """Build all that is asked for. Return what was left out."""
    left_out: list[str] = []
    moment = build.epoch()
    first, second, others = work / "first", work / "second", work / "second/dist"
    sdist = build.make_sdist(options.output, first, moment)
    print(sdist.name, flush=True)
    pure = build.make_pure_files(sdist, first)
    wheel = build.write_wheel(options.output, pure, None, b"", moment)
    print(wheel.name, flush=True)
    if options.twice:
        others.mkdir(parents=True)
        compare(sdist, build.make_sdist(others, second, moment))
        pure_again = build.make_pure_files(sdist, second)
        compare(wheel, build.write_wheel(others, pure_again, None, b"", moment))
    for python in () if options.pure else options.python:
        if (headers := headers_of(python)) is None:
            left_out.append(f"there are no headers of Python {python} here")
            continue
        for platform in PLATFORMS:
            if str(platform) not in options.platform:
                continue
            target = Target(python, platform)
            contents = build.make_shared_object(sdist, target, headers, first)
            wheel = build.write_wheel(options.output, pure, target, contents, moment)
            print(wheel.name, flush=True)
            if str(platform) in options.twice and python in options.twice_python:
                contents = build.make_shared_object(sdist, target, headers, second)
                compare(wheel, build.write_wheel(others, pure_again, target, contents, moment))
    return left_out


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    shutil.rmtree(options.output, ignore_errors=True)
    options.output.mkdir(parents=True)
    options.output = options.output.resolve()
    try:
        with tempfile.TemporaryDirectory(prefix="edgeloop-wheels-") as work:
            left_out = make_all(options, Path(work))
    except build.BuildError as exc:
        print(exc, file=sys.stderr)
        return 1
    faults = checks.check_all(options.output)
    for line in (*left_out, *faults):
        print(line, file=sys.stderr)
    return 1 if faults or (options.strict and left_out) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
