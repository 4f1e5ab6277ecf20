"""Where the files of figures are kept when a folder is full, read-only or another user's, and what containers see."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from example_process import environment

import edgeloop
from edgeloop.watching import shared_file
from edgeloop.watching.rows import why_not
from edgeloop.watching.shared_file import loops, read

pytestmark = pytest.mark.edgeloop_only

ONE_LOOP = """
import asyncio, sys, edgeloop

async def main():
    loop = asyncio.get_running_loop()
    try:
        print("in", edgeloop.share(loop).rpartition("/")[0], flush=True)
    except OSError as exc:
        print(exc.strerror, flush=True)
    edgeloop.watch(loop, 60.0)
    await asyncio.to_thread(sys.stdin.read)

edgeloop.run(main())
"""


def may_unshare(*what: str) -> bool:
    """Whether this process may make namespaces: a container's usually may not."""
    tool = shutil.which("unshare")
    return tool is not None and subprocess.run([tool, *what, "true"], capture_output=True).returncode == 0


needs_mounts = pytest.mark.skipif(not may_unshare("--mount"), reason="a mount namespace of its own is needed")


@pytest.fixture
def env(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    variables = environment(request.config, tmp_path)
    variables.pop("XDG_RUNTIME_DIR", None)
    return variables


@needs_mounts
@pytest.mark.parametrize(
    ("mounted", "said"),
    [
        ("-o size=4k tmpfs /dev/shm && head -c 4096 /dev/zero > /dev/shm/filled", "No space left on device"),
        ("-o size=8k tmpfs /dev/shm && head -c 4096 /dev/zero > /dev/shm/filled", "No space left on device"),
        ("-o nr_inodes=1 tmpfs /dev/shm", "No space left on device"),
        ("-o ro tmpfs /dev/shm", "Read-only file system"),
        ("tmpfs /dev/shm", "in /dev/shm"),
    ],
    ids=["full", "room for half of it", "no inode", "read-only", "empty"],
)
def test_a_loop_without_a_place_for_its_file_is_watched_all_the_same(
    env: dict[str, str], mounted: str, said: str
) -> None:
    script = f'mount -t tmpfs {mounted} && "$0" -c "$1" && ls /dev/shm'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable, ONE_LOOP],
        env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    left = ["filled"] if "filled" in mounted else []
    assert done.stdout.splitlines() == [said, *left], "nothing else is left"


@needs_mounts
def test_a_runtime_folder_that_is_full_leaves_the_other(env: dict[str, str], tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    script = 'mount -t tmpfs -o size=4k tmpfs "$2" && head -c 4096 /dev/zero > "$2/filled" && "$0" -c "$1" && ls "$2"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable, ONE_LOOP, str(runtime)],
        env={**env, "XDG_RUNTIME_DIR": str(runtime)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout.splitlines(), done.stderr) == (["in /dev/shm", "filled"], "")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(shared_file, "SHM", str(tmp_path / "missing"))
    return tmp_path


def test_figures_under_another_process_s_name_are_not_shown_as_its(
    loop: asyncio.AbstractEventLoop, folder: Path
) -> None:
    path = Path(edgeloop.share(loop))
    forged = folder / f"edgeloop-{os.geteuid()}-{shared_file.namespace()}-{os.getppid()}-1"
    forged.write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="another process than the name says"):
        read(str(forged))
    assert [found.path for found in loops()] == [str(path)]
    assert forged.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be shown other users' files")
def test_a_user_s_file_that_claims_another_user_s_process_is_not_shown_to_root(
    loop: asyncio.AbstractEventLoop, folder: Path
) -> None:
    path = Path(edgeloop.share(loop))
    forged = Path(f"{path}9")
    forged.write_bytes(path.read_bytes())
    os.chown(forged, 65534, 65534)
    with pytest.raises(PermissionError):
        read(str(forged))
    assert [found.path for found in loops()] == [str(path)]


PS = [sys.executable, "-m", "edgeloop", "ps"]


@pytest.mark.skipif(
    not may_unshare("--pid", "--fork", "--mount-proc"), reason="a namespace of process numbers is needed"
)
def test_a_container_s_loops_are_seen_inside_it_alone(env: dict[str, str], tmp_path: Path) -> None:
    env = {**env, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", ONE_LOOP]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"in {tmp_path}\n"
            pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
            inside = ["nsenter", "--target", str(pid), "--pid", "--mount", *PS]
            shown = subprocess.run(inside, env=env, capture_output=True, text=True, timeout=60)
            assert [line.split()[:2] for line in shown.stdout.splitlines()[1:]] == [["1", "1"]], shown.stderr
            outside = subprocess.run([*PS, str(pid)], env=env, capture_output=True, text=True, timeout=60)
            assert outside.returncode == 1
            assert f"process {pid} runs in a container" in outside.stderr
            assert f"nsenter --target {pid} --pid --mount" in why_not(pid)
            assert loops() == [] or str(tmp_path) not in loops()[0].path
            assert len(os.listdir(tmp_path)) == 1, "its file is left alone"
        finally:
            process.kill()


def test_ps_ends_in_silence_when_its_reader_has_gone(env: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as output:
        done = subprocess.run(PS, env=env, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
