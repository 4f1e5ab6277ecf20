"""The file in which a loop keeps its figures, so that other processes can read them, even while this one hangs.

``share(loop)`` makes it: in $XDG_RUNTIME_DIR if that is the user's own, else in /dev/shm; mode 0600, named for process and
loop. It is mapped, and the loop counts there: nothing is copied, and nobody has to wake up. It goes with ``unshare``, with the
loop's ``close`` and at the end of the process. A process that was killed leaves it behind: a reader knows it by the
process's number and start, and removes it. A forked child has no file until it calls ``share``.

Readers trust only what belongs to them; root also takes what belongs to the process's owner.
"""

from __future__ import annotations

import atexit
import dataclasses
import errno
import os
import re
import stat
import struct
import time
import weakref
from collections.abc import Iterator
from typing import Any

from .. import stdlib
from ..kernel import ticks
from . import layout
from .figures import Figures
from .layout import PLACES
from .snapshot import Stats, descriptors_of, figures_of, from_raw

SHM = "/dev/shm"
SIZE = 8192  # whole pages
REFRESH_SECONDS = 0.25

_NAME = re.compile(r"edgeloop-(\d+)-(\d+)-(\d+)-(\d+)")  # user, namespace of the process number, process, loop


class SharedFile:
    """A loop's file, as the loop's Figures know it."""

    def __init__(self, loop: Any, figures: Figures, path: str) -> None:
        self.path = path
        self._loop = weakref.ref(loop, self._on_loop_gone)  # a loop that nobody has closed shall go all the same
        self._figures = figures
        self._measures = False  # because a reader wants it
        self._pid = os.getpid()

    def refresh(self) -> None:
        """Bring up to date what is not counted. The loop calls this when it wakes up, a few times a second at most."""
        figures, loop = self._figures, self._loop()
        figures.set_scale()
        wanted = figures.get(PLACES["wanted_until"]) > time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if wanted is not self._measures:
            self._measures = wanted
            figures.measure(1 if wanted else -1)
        threads, queued = stdlib.threads_of(getattr(loop, "_default_executor", None))
        more_threads, more_queued = stdlib.threads_of(getattr(getattr(loop, "_resolver", None), "_pool", None))
        figures.set(PLACES["threads"], threads + more_threads)
        figures.set(PLACES["jobs_queued"], queued + more_queued)
        by_counter = figures.get(PLACES["by_counter"])
        now = ticks.read(by_counter)
        figures.set(PLACES["refreshed_at"], now)
        figures.set(PLACES["refresh_at"], now + int(REFRESH_SECONDS * 1e9 / ticks.scale(by_counter)[2]))

    def detach(self) -> None:
        """The loop no longer counts in this file, and no reader can want anything of it."""
        if self._measures:
            self._measures = False
            self._figures.measure(-1)

    def _on_loop_gone(self, reference: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the file. May be called again."""
        if _files.pop(self.path, None) is not None and os.getpid() == self._pid:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass


_files: dict[str, SharedFile] = {}
"""Those of this process, by path; in a forked child also the parent's, which it leaves alone."""


@atexit.register
def _remove_all() -> None:
    for file in list(_files.values()):
        file.remove()


def folders() -> list[str]:
    """Return where the files of this user's loops may be; new ones go into the first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    found = []
    try:
        if os.path.isabs(runtime) and os.stat(runtime).st_uid == os.geteuid():
            found.append(runtime)
    except OSError:
        pass
    return [*found, SHM]


def namespace() -> int:
    """Return what tells apart the process numbers of containers that share a folder; 0 if the kernel doesn't say."""
    return namespace_of("self", 0)


def namespace_of(pid: int | str, unknown: int | None = None) -> int:
    """Return that of another process; ``unknown``, or else this one's, if the kernel doesn't say."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return namespace() if unknown is None else unknown


def started(pid: int) -> int:
    """Return when a process has started, in the kernel's unit; 0 if there is none. proc_pid_stat(5)."""
    words = _status_of(pid)
    # A zombie has ended, but for one whose first thread has, and others go on.
    return 0 if words[0] in (b"Z", b"X") and int(words[17]) <= 1 else int(words[19])


def is_suspended(pid: int) -> bool:
    """Return True if SIGSTOP or a debugger has stopped a process."""
    return _status_of(pid)[0] in (b"T", b"t")


def _status_of(pid: int) -> list[bytes]:
    # From the third field on.
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
    except OSError:
        words = []
    return words if len(words) > 19 else [b"X"] + [b"0"] * 19


def _has_mapped(pid: int, path: str) -> bool:
    # A process that has called execve(2) is the same one, and counts there no more. True if the kernel doesn't say.
    # By the last part of the path: another container may have the folder at another place.
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return f"/{os.path.basename(path)}\n".encode() in file.read()
    except OSError:
        return True


def share(loop: Any) -> str:
    """Keep the figures of ``loop`` in a file from now on, and return its path. Any thread may call, also again.

    Raises TypeError if the loop isn't edgeloop's, RuntimeError if it is closed, OSError if no file can be made.
    """
    figures = figures_of(loop)
    if figures.file is not None and os.getpid() == figures.get(PLACES["pid"]):
        return figures.file.path  # type: ignore[no-any-return]
    if loop.is_closed():
        raise RuntimeError("Event loop is closed")
    pid = os.getpid()
    figures.set(PLACES["pid"], pid)
    figures.set(PLACES["process_started"], started(pid))
    name = f"edgeloop-{os.geteuid()}-{namespace()}-{pid}-{figures.get(PLACES['number'])}"
    failure: OSError | None = None
    for folder in folders():
        path = os.path.join(folder, name)
        try:
            fd = _create(path)
        except OSError as exc:
            failure = exc
            continue
        file = SharedFile(loop, figures, path)
        _files[path] = file
        try:
            os.posix_fallocate(fd, 0, SIZE)  # or a full disk would be SIGBUS, later
            figures.set_scale()
            figures.share(fd)
        except OSError as exc:
            file.remove()
            failure = exc
            continue
        except BaseException:
            file.remove()
            raise
        finally:
            os.close(fd)
        loop.reactor.use_figures()
        figures.file = file
        file.refresh()
        return path
    assert failure is not None
    raise failure


def _create(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except FileExistsError:
        os.unlink(path)  # of a process that had this number; PermissionError if it is somebody else's
        fd = os.open(path, flags, 0o600)
    os.fchmod(fd, 0o600)  # whatever the umask takes away
    return fd


def unshare(loop: Any) -> None:
    """Remove the file of ``loop``. Do nothing if it has none. Raises TypeError if the loop isn't edgeloop's."""
    figures = figures_of(loop)
    if figures.file is not None:
        figures.file.remove()
    figures.make_private()
    loop.reactor.use_figures()


# Readers


@dataclasses.dataclass(frozen=True, slots=True)
class SharedLoop:
    """A loop that can be read: its process lives."""

    path: str
    pid: int
    number: int
    """Of the loop in its process, from 1 on."""

    def read(self) -> Stats:
        """Return its figures; raises as ``read``."""
        return read(self.path)

    def measure(self, seconds: float = 10.0) -> None:
        """Have the loop measure delays and lengths for so long, as ``edgeloop.measure`` does; it begins when it wakes up.

        Raises as ``read``.
        """
        fd = _open(self.path, os.O_RDWR)
        try:
            _checked(fd, self.path)
            until = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(seconds * 1e9)
            os.pwrite(fd, struct.pack("=q", until), 8 * PLACES["wanted_until"])
        finally:
            os.close(fd)


def loops(pid: int | None = None) -> list[SharedLoop]:
    """Return the loops of this machine that are shared and that this user may read, or those of one process.

    Removes the files of processes that have ended. Raises nothing.
    """
    return sorted(_found(pid), key=lambda found: (found.pid, found.number))


def has_files(pid: int) -> bool:
    """Return True if there is a file of a process, whoever may read it."""
    return any(other == pid for _, other, _ in _files_there())


def _files_there() -> Iterator[tuple[str, int, int]]:
    # Path, process and loop, of this container's processes.
    here = namespace()
    for folder in folders():
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            parts = _NAME.fullmatch(name)
            if parts is not None and int(parts[2]) == here:
                yield os.path.join(folder, name), int(parts[3]), int(parts[4])


def _found(only: int | None) -> Iterator[SharedLoop]:
    for path, pid, number in _files_there():
        if only is not None and pid != only:
            continue
        try:
            raw = layout.unpack(_data_of(path))
        except ProcessLookupError:
            _remove_stale(path)
        except (OSError, ValueError):
            continue  # somebody else's, or not complete yet
        else:
            if not raw["closed"] and _has_mapped(pid, path):
                yield SharedLoop(path, pid, number)


def _remove_stale(path: str) -> None:
    try:
        if os.lstat(path).st_uid == os.geteuid():
            os.unlink(path)
    except OSError:
        pass  # another reader was faster


def read(path: str) -> Stats:
    """Return the figures that a loop keeps in a file. Its process may hang; this one does not wait for it.

    Raises FileNotFoundError; PermissionError if the file isn't this user's; ProcessLookupError if the process has ended;
    ValueError if it is no such file, or another version's.
    """
    data = _data_of(path)
    for _ in range(100):
        before, data = data, _data_of(path)
        if data[_STEADY] == before[_STEADY] and data[_LONGEST] == before[_LONGEST]:
            break  # else the loop was writing what belongs together
    raw = layout.unpack(data)
    stats = from_raw(data, time.monotonic(), descriptors_of(raw["pid"]))
    if stats.longest is not None:
        name = "".join(char if char.isprintable() else "?" for char in stats.longest.name)  # it may go to a terminal
        stats = dataclasses.replace(stats, longest=dataclasses.replace(stats.longest, name=name))
    return stats


_STEADY = slice(8 * PLACES["base_ticks"], 8 * PLACES["thread"])
_LONGEST = slice(8 * PLACES["longest_writes"], 8 * PLACES["delay_sum"])


def _data_of(path: str) -> bytes:
    fd = _open(path, os.O_RDONLY)
    try:
        return _checked(fd, path)
    finally:
        os.close(fd)


def _open(path: str, access: int) -> int:
    # O_NONBLOCK: somebody may have put a FIFO there. Not mapped: whoever owns it may cut it off.
    return os.open(path, access | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)


def _checked(fd: int, path: str) -> bytes:
    # The figures in a file that is open, once it is certain whose they are.
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() and os.geteuid() != 0:
        raise PermissionError(errno.EPERM, "this file of figures belongs to another user", path)
    data = os.pread(fd, layout.SIZE, 0) if stat.S_ISREG(status.st_mode) else b""
    pid = _pid_of(path, data)
    begun = struct.unpack_from("=q", data, 8 * PLACES["process_started"])[0] if len(data) == layout.SIZE else None
    now = started(pid)
    if now == 0 or (begun not in (None, 0) and begun != now):
        raise ProcessLookupError(errno.ESRCH, "the process of these figures has ended", path)
    if begun is None or struct.unpack_from("=3q", data) != (layout.MAGIC, layout.VERSION, layout.SIZE):
        raise ValueError(f"no figures of a loop, or another version's: {path}")
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        raise ProcessLookupError(errno.ESRCH, "the process of these figures has ended", path) from None
    if status.st_uid not in (owner, os.geteuid()):
        raise PermissionError(errno.EPERM, "this file of figures isn't its process's", path)
    return data


def _pid_of(path: str, data: bytes) -> int:
    # In /dev/shm any user may make a file of any name. What it contains has to be of the process that it is named for.
    parts = _NAME.fullmatch(os.path.basename(path))
    if len(data) == layout.SIZE:
        pid: int = struct.unpack_from("=q", data, 8 * PLACES["pid"])[0]
        if pid > 0 and (parts is None or pid == int(parts[3])):
            return pid
        if pid > 0:
            raise ValueError(f"figures of another process than the name says: {path}")
    if parts is None:
        raise ValueError(f"no figures of a loop: {path}")
    return int(parts[3])
