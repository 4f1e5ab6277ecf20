"""Pipes as fs/pipe.c has them: slots of a page, to the last of which a write may append."""

from __future__ import annotations

import errno

from simulated_kernel import ERR, HUP, IN, OUT, File, Kernel, failure

PAGE = 4096


class Pipe:
    """What both ends share."""

    def __init__(self, kernel: Kernel) -> None:
        self.reader = PipeEnd(kernel, self, False)
        self.writer = PipeEnd(kernel, self, True)
        self.slots: list[bytes] = []
        self.offsets: list[int] = []  # what was read of each slot's page
        self.max_slots = kernel.pipe_slots
        self.polled = False  # a reader is in an epoll set: each write is an edge, else only the first

    def full(self) -> bool:
        """Whether no slot is free."""
        return len(self.slots) >= self.max_slots

    def size(self) -> int:
        """FIONREAD."""
        return sum(map(len, self.slots))


class PipeEnd(File):
    """The reading or the writing end."""

    def __init__(self, kernel: Kernel, pipe: Pipe, writes: bool) -> None:
        File.__init__(self, kernel)
        self.pipe = pipe
        self.writes = writes

    def poll(self) -> int:
        pipe = self.pipe
        pipe.polled = True
        if self.writes:
            return (0 if pipe.full() else OUT) | (0 if pipe.reader.refs else ERR)
        return (IN if pipe.slots else 0) | (0 if pipe.writer.refs else HUP)

    def read(self, size: int) -> bytes:
        """read(2)."""
        pipe = self.pipe
        if not pipe.slots:
            if pipe.writer.refs:
                raise failure(errno.EAGAIN)
            return b""
        self.kernel.moved += 1
        was_full = False
        parts = []
        while size and pipe.slots:
            slot = pipe.slots[0]
            part = slot[:size]
            parts.append(part)
            size -= len(part)
            if len(part) < len(slot):
                pipe.slots[0] = slot[len(part) :]
                pipe.offsets[0] += len(part)
            else:
                was_full = was_full or pipe.full()
                del pipe.slots[0], pipe.offsets[0]
        if was_full:
            pipe.writer.wake(OUT)
        return b"".join(parts)

    def write(self, data: bytes) -> int:
        """write(2)."""
        pipe = self.pipe
        if not data:
            return 0
        if not pipe.reader.refs:
            raise failure(errno.EPIPE)
        was_empty = not pipe.slots
        done = 0
        odd = len(data) % PAGE
        if odd and not was_empty and pipe.offsets[-1] + len(pipe.slots[-1]) + odd <= PAGE:
            pipe.slots[-1] += data[:odd]
            done = odd
        while done < len(data) and not pipe.full():
            part = data[done : done + PAGE]
            pipe.slots.append(part)
            pipe.offsets.append(0)
            done += len(part)
        if was_empty or pipe.polled:
            pipe.reader.wake(IN)
        if not done:
            raise failure(errno.EAGAIN)
        return done

    def release(self) -> None:
        pipe = self.pipe
        if bool(pipe.reader.refs) != bool(pipe.writer.refs):
            pipe.reader.wake(0)
            pipe.writer.wake(0)
