"""python -m wheels.trees RELEASE...: installs what was built in bare Debian systems, and has smoke_test.py use it there.

Each system is made once by debootstrap, in ``--trees``, for the processor that follows a colon: ``trixie:arm64``. Another
processor than this machine's needs qemu's user emulation (Debian's qemu-user-static, and a kernel with binfmt_misc). It takes
root. pip gets aiohttp from where it gets packages on this machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import build

#: Beside the minimum: an interpreter with pip, and what the smoke test makes certificates with.
PACKAGES = "ca-certificates,openssl,python3,python3-venv"


def make_tree(tree: Path, release: str, processor: str) -> None:
    """Make a bare system, unless it is there."""
    if (tree / ".made").exists():
        return
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}"]
    if processor:
        command.append(f"--arch={processor}")
    subprocess.run([*command, release, tree], check=True, stdout=subprocess.DEVNULL)
    (tree / ".made").touch()


def copy_settings(tree: Path) -> None:
    """Give the tree this machine's names of hosts, certificates and pip's settings."""
    for file in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
        if os.path.exists(file):
            (tree / file[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tree / file[1:])
    settings = Path.home() / ".config" / "pip"
    if settings.exists():
        shutil.copytree(settings, tree / "root/.config/pip", dirs_exist_ok=True)


@contextmanager
def mounted(tree: Path) -> Iterator[None]:
    """The tree has /proc and /dev meanwhile."""
    folders = [tree / name for name in ("proc", "dev")]
    for folder in folders:
        if not folder.is_mount():
            subprocess.run(["mount", "--bind", f"/{folder.name}", folder], check=True)
    try:
        yield
    finally:
        for folder in folders:
            subprocess.run(["umount", "-l", folder], check=True)


def in_tree(tree: Path, *command: str, **environment: str) -> str:
    """Run a command in the tree. Return what it says; raise SystemExit with that if it fails."""
    settings = {
        "HOME": "/root",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LC_ALL": "C.UTF-8",
        **environment,
    }
    settings |= {name: value for name, value in os.environ.items() if name.startswith("PIP_") and "CERT" not in name}
    done = subprocess.run(
        ["chroot", tree, *command], env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{tree.name}: {' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def use(tree: Path, dist: Path, pure: bool) -> str:
    """Install edgeloop from ``dist`` in a new environment of the tree, and run the smoke test. Return its last line."""
    shutil.rmtree(tree / "edgeloop", ignore_errors=True)
    (tree / "edgeloop").mkdir()
    for wheel in dist.glob("*.whl"):
        if not pure or wheel.name.endswith("-none-any.whl"):
            shutil.copy(wheel, tree / "edgeloop")
    shutil.copy(Path(__file__).with_name("smoke_test.py"), tree / "edgeloop")
    in_tree(tree, "python3", "-m", "venv", "/edgeloop/environment")
    python = "/edgeloop/environment/bin/python"
    in_tree(tree, python, "-m", "pip", "install", "-q", "aiohttp")
    in_tree(tree, python, "-m", "pip", "install", "-q", "--no-index", "--find-links", "/edgeloop", "edgeloop")
    edition = "pure" if pure else "compiled"
    # With LD_BIND_NOW a function that the interpreter lacks is missed at the import, not when it is called first.
    wanted = {"EDGELOOP_PURE": "1"} if pure else {"LD_BIND_NOW": "1"}
    said = in_tree(tree, python, "-W", "error", "/edgeloop/smoke_test.py", edition, **wanted)
    return said.strip().replace("\n", "; ")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("wheels.trees", description=__doc__)
    parser.add_argument("releases", nargs="+", metavar="RELEASE[:PROCESSOR]")
    parser.add_argument("--dist", type=Path, default=build.ROOT / "dist", help="where the wheels are: dist")
    parser.add_argument("--trees", type=Path, default=build.ROOT / "build/trees", help="where the systems are kept")
    options = parser.parse_args(arguments)
    options.trees.mkdir(parents=True, exist_ok=True)
    for wanted in options.releases:
        release, _, processor = wanted.partition(":")
        tree = options.trees.resolve() / "-".join(filter(None, (release, processor)))
        make_tree(tree, release, processor)
        copy_settings(tree)
        with mounted(tree):
            for pure in (False, True):
                print(f"{tree.name}: {use(tree, options.dist, pure)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
