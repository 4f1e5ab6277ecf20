"""The file of a loop's figures: who may read it, what another process sees while the loop hangs, and that it goes away."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

import edgeloop
from edgeloop.watching import layout, shared_file
from edgeloop.watching.shared_file import loops, read

pytestmark = pytest.mark.edgeloop_only


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of this test, and of its children, are in a folder of its own, and it sees no others."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(shared_file, "SHM", str(tmp_path / "missing"))
    return tmp_path


def child(program: str) -> subprocess.Popen[str]:
    """Start a program that has ``loop``, and its ``path`` once it is shared, and says so by a line."""
    begin = "import edgeloop, sys, os, time\nloop = edgeloop.new_event_loop()\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    output: IO[str] | None = process.stdout
    assert output is not None
    return output.readline().strip()


@pytest.fixture
def blocked() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process whose loop has run a little, and hangs in read(2) now: (process, path of its file)."""
    process = child(
        "path = edgeloop.share(loop)\n"
        "measurement = edgeloop.measure(loop)\n"
        "def block():\n"
        "    print(path, flush=True)\n"
        "    sys.stdin.read()\n"
        "loop.call_soon(lambda: loop.call_soon(block))\n"
        "loop.run_forever()\n"
    )
    try:
        yield process, said(process)
    finally:
        process.kill()
        process.communicate()


def test_a_file_is_its_owners_alone(loop: asyncio.AbstractEventLoop, folder: Path) -> None:
    path = edgeloop.share(loop)
    status = os.stat(path)
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_uid == os.geteuid()
    assert Path(path).parent == folder


def test_the_umask_does_not_matter(loop: asyncio.AbstractEventLoop) -> None:
    before = os.umask(0o777)
    try:
        path = edgeloop.share(loop)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_second_share_returns_the_same_file(loop: asyncio.AbstractEventLoop) -> None:
    assert edgeloop.share(loop) == edgeloop.share(loop)


def test_the_file_says_what_the_loop_knows(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_until_complete(asyncio.sleep(0))
    path = edgeloop.share(loop)
    with edgeloop.measure(loop):
        loop.run_until_complete(asyncio.sleep(0.001))
    found, known = read(path), edgeloop.stats(loop)
    assert found.loop == known.loop
    for name in ("turns", "waits", "callbacks", "timers", "channels"):
        assert getattr(found, name) == getattr(known, name)
    assert found.seconds_idle == pytest.approx(known.seconds_idle)
    for name in ("delay", "turn", "callback"):
        # The processor's ticks are turned into seconds by each reader, with the kernel's rate of that moment.
        one, other = getattr(found, name), getattr(known, name)
        assert one.buckets == other.buckets
        assert (one.sum, one.max) == pytest.approx((other.sum, other.max))
    assert found.longest is not None and known.longest is not None
    assert known.longest.name.startswith(found.longest.name)


def test_counting_goes_on_after_unshare_and_after_another_share(loop: asyncio.AbstractEventLoop) -> None:
    paths = []
    for _ in range(3):
        paths.append(edgeloop.share(loop))
        turns = edgeloop.stats(loop).turns
        loop.run_until_complete(asyncio.sleep(0))
        assert read(paths[-1]).turns == edgeloop.stats(loop).turns > turns
        edgeloop.unshare(loop)
        assert not os.path.exists(paths[-1])
        loop.run_until_complete(asyncio.sleep(0))
        assert edgeloop.stats(loop).turns > turns
    edgeloop.unshare(loop)  # there is none any more


def test_a_loop_may_be_shared_and_unshared_while_it_runs(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        before = edgeloop.stats(loop)
        for _ in range(3):
            edgeloop.share(loop)
            await asyncio.sleep(0)
            edgeloop.unshare(loop)
            await asyncio.sleep(0)
        assert (edgeloop.stats(loop) - before).turns == 6

    loop.run_until_complete(main())


def test_close_removes_the_file() -> None:
    loop = edgeloop.new_event_loop()
    path = edgeloop.share(loop)
    loop.close()
    assert not os.path.exists(path)
    with pytest.raises(RuntimeError, match="closed"):
        edgeloop.share(loop)
    with pytest.raises(FileNotFoundError):
        read(path)


def test_the_end_of_the_process_removes_the_file() -> None:
    process = child("print(edgeloop.share(loop), flush=True); sys.stdin.read()")
    path = said(process)
    assert os.path.exists(path)
    process.communicate()
    assert not os.path.exists(path)


def test_another_process_reads_while_the_loop_hangs(blocked: tuple[subprocess.Popen[str], str]) -> None:
    process, path = blocked
    earlier = read(path)
    later = read(path)
    assert later.running and not later.waiting
    assert later.blocked_for > earlier.blocked_for > 0
    assert later.turns == earlier.turns == 2
    assert later.descriptors > 0
    (found,) = loops()
    assert (found.pid, found.path, found.number) == (process.pid, path, 1)
    assert found.read().turns == 2
    assert [one.pid for one in loops(process.pid)] == [process.pid]
    assert loops(os.getpid()) == []


def test_a_stopped_process_is_read_too(blocked: tuple[subprocess.Popen[str], str]) -> None:
    process, path = blocked
    process.send_signal(signal.SIGSTOP)
    assert read(path).running


def test_a_loop_that_sleeps_is_seen_to() -> None:
    process = child("loop.call_soon(lambda: print(edgeloop.share(loop), flush=True)); loop.run_forever()")
    try:
        path = said(process)
        while not (stats := read(path)).waiting:
            pass
        assert (stats.busy_for, stats.ready) == (0.0, 0)
    finally:
        process.kill()
        process.communicate()


def test_what_a_killed_process_leaves_is_removed_by_who_looks(blocked: tuple[subprocess.Popen[str], str]) -> None:
    process, path = blocked
    process.kill()
    process.communicate()
    assert os.path.exists(path)
    with pytest.raises(ProcessLookupError):
        read(path)
    assert loops() == []
    assert not os.path.exists(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_s_process_left_is_not_ours_to_remove(blocked: tuple[subprocess.Popen[str], str]) -> None:
    process, path = blocked
    process.kill()
    process.communicate()
    os.chown(path, 65534, 65534)
    with pytest.raises(ProcessLookupError):
        read(path)
    assert loops() == []
    assert os.path.exists(path)


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy lets SIGXFSZ end the process: setrlimit(2)")
@pytest.mark.parametrize("limit", [0, 4096])
def test_a_file_that_can_not_be_as_large_as_it_must_is_not_left(folder: Path, limit: int) -> None:
    process = child(
        f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n"
        "    edgeloop.share(loop)\n"
        "except OSError as exc:\n"
        "    sys.stdout.write(type(exc).__name__ + '\\n')\n"
    )
    with process:
        assert said(process) == "OSError"
        process.communicate("\n")
    assert list(folder.iterdir()) == []


def test_a_number_that_another_process_has_by_now_is_noticed(loop: asyncio.AbstractEventLoop, folder: Path) -> None:
    data = bytearray(Path(edgeloop.share(loop)).read_bytes())
    place = 8 * layout.PLACES["process_started"]
    data[place : place + 8] = (1).to_bytes(8, sys.byteorder)
    stale = folder / f"edgeloop-{os.geteuid()}-{shared_file.namespace()}-{os.getpid()}-99"
    stale.write_bytes(data)
    with pytest.raises(ProcessLookupError):
        read(str(stale))
    assert [found.number for found in loops()] == [int(edgeloop.stats(loop).loop.partition("/")[2])]
    assert not stale.exists()


def test_another_containers_files_are_left_alone(folder: Path) -> None:
    strange = folder / f"edgeloop-{os.geteuid()}-1-1-1"
    strange.write_bytes(b"")
    assert loops() == []
    assert strange.exists()


def test_a_forked_child_does_not_count_in_its_parents_file(loop: asyncio.AbstractEventLoop) -> None:
    path = edgeloop.share(loop)
    loop.run_until_complete(asyncio.sleep(0))
    before = read(path)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            for _ in range(50):
                loop.run_until_complete(asyncio.sleep(0))
            own = edgeloop.share(loop)
            code = 0 if own != path and read(own).turns > before.turns + 50 else 2
            loop.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert read(path).turns == before.turns
    assert os.path.exists(path)


def test_several_loops_of_a_process_have_a_file_each(loop: asyncio.AbstractEventLoop) -> None:
    other = edgeloop.new_event_loop()
    try:
        paths = {edgeloop.share(loop), edgeloop.share(other)}
        assert {found.path for found in loops()} == paths and len(paths) == 2
    finally:
        other.close()


@pytest.mark.parametrize("content", [b"", bytes(10), bytes(layout.SIZE), bytes(100000)])
def test_what_is_no_such_file_is_refused(folder: Path, content: bytes) -> None:
    path = folder / f"edgeloop-{os.geteuid()}-{shared_file.namespace()}-{os.getpid()}-7"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no figures"):
        read(str(path))
    assert loops() == []
    assert path.exists()  # it may be somebody's who is about to write it


def test_another_versions_file_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    data = bytearray(Path(edgeloop.share(loop)).read_bytes())
    data[8 * layout.PLACES["version"]] += 1
    other = Path(edgeloop.share(loop) + "0")
    other.write_bytes(data)
    with pytest.raises(ValueError, match="another version"):
        read(str(other))
    other.unlink()


def test_links_and_fifos_are_not_followed_nor_waited_for(loop: asyncio.AbstractEventLoop, folder: Path) -> None:
    path = edgeloop.share(loop)
    link = Path(path + "1")
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        read(str(link))
    fifo = Path(path + "2")
    os.mkfifo(fifo)
    with pytest.raises(ValueError, match="no figures"):
        read(str(fifo))
    assert [found.path for found in loops()] == [path]


def test_a_link_in_the_files_place_is_replaced_and_not_written_through(
    loop: asyncio.AbstractEventLoop, folder: Path
) -> None:
    victim = folder / "victim"
    victim.write_text("precious")
    path = Path(edgeloop.share(loop))
    edgeloop.unshare(loop)
    path.symlink_to(victim)
    assert edgeloop.share(loop) == str(path)
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_strangers_file_is_not_trusted(loop: asyncio.AbstractEventLoop) -> None:
    path = edgeloop.share(loop)
    os.chown(path, 65534, 65534)
    with pytest.raises(PermissionError):
        read(path)
    assert loops() == []
    os.chown(path, 0, 0)


def test_a_folder_that_is_not_there_leaves_the_other(
    loop: asyncio.AbstractEventLoop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "missing"))
    monkeypatch.setattr(shared_file, "SHM", str(folder))
    assert Path(edgeloop.share(loop)).parent == folder
    edgeloop.unshare(loop)
    monkeypatch.setattr(shared_file, "SHM", str(folder / "missing"))
    with pytest.raises(FileNotFoundError):
        edgeloop.share(loop)
    loop.run_until_complete(asyncio.sleep(0))
    assert edgeloop.stats(loop).turns > 0


def test_a_name_from_a_file_has_nothing_that_a_terminal_would_obey() -> None:
    loop: Any = edgeloop.new_event_loop()
    try:
        path = edgeloop.share(loop)
        data = bytearray(Path(path).read_bytes())
        edgeloop.unshare(loop)
        place = 8 * layout.PLACES["longest_text"]
        data[place : place + 6] = b"\x1b[2Jab"
        place = 8 * layout.PLACES["longest_ns"]
        data[place] = 1
        forged = Path(path)
        forged.write_bytes(data)
        longest = read(path).longest
        assert longest is not None and longest.name == "?[2Jab"
        forged.unlink()
    finally:
        loop.close()
