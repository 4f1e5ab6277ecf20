"""The memory that TLS connections of one loop read into, shared by all of them.

A connection needs a buffer only from the moment its lower transport asks for one to the moment the bytes have gone
into the SSL object, and a loop does one of these at a time. So the buffers belong to the loop and an idle connection
owns none. The exception is TLS inside TLS, where the inner connection is given bytes while the outer one is still
taking its own from the buffer: ``depth`` counts how many are doing so, and each level has a buffer of its own.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

# What one read from the kernel may bring, and what a protocol is handed at a time: as in the standard library.
CIPHER_SIZE = 256 * 1024
PLAIN_SIZE = 256 * 1024


class ReadBuffers:
    """The buffers of one loop.

    ``cipher()`` is what a lower transport fills; ``plain`` holds decrypted bytes for the moment before they are
    copied into the ``bytes`` that ``data_received`` gets.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.plain = memoryview(bytearray(PLAIN_SIZE))
        self._levels: list[memoryview] = []

    def cipher(self) -> memoryview:
        """The buffer to fill next: valid until it has been consumed or somebody else on this loop asks for one."""
        levels = self._levels
        while len(levels) <= self.depth:
            levels.append(memoryview(bytearray(CIPHER_SIZE)))
        return levels[self.depth]


_per_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, ReadBuffers] = WeakKeyDictionary()


def read_buffers(loop: asyncio.AbstractEventLoop) -> ReadBuffers:
    """The buffers of ``loop``, made when its first TLS connection asks for them and freed with the loop."""
    buffers = _per_loop.get(loop)
    if buffers is None:
        buffers = _per_loop[loop] = ReadBuffers()
    return buffers
