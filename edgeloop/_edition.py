"""Which edition runs: decided here, before the first hot room is imported.

The hot rooms lie side by side as ``reactor.py`` and, compiled, ``reactor.cpython-*.so``, and the import system prefers the
latter. The pure edition is had by a finder for this package's folders that knows source files only.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

HOT_ROOMS = (
    "kernel",
    "kernel_epoll",
    "kernel_sockets",
    "kernel_pipes",
    "kernel_datagram",
    "kernel_timers",
    "handles",
    "reactor",
    "schedule",
    "tasks",
    "watch",
    "transports.flow",
    "transports.stream_sending",
    "transports.stream",
    "transports.pipe",
    "transports.pipe_writing",
    "transports.datagram_sending",
    "transports.datagram",
    "transports.tls_state",
    "transports.tls_engine",
    "transports.libssl",
    "transports.tls_openssl",
    "transports.tls_records",
    "transports.tls_writing",
    "transports.tls_reading",
    "transports.tls_transport",
    "transports.tls",
    "listener",
    "stream_cores",
)

_home = Path(__file__).parent


def _compiled() -> bool:
    # All or none: a compiled room calls its neighbours through C.
    return all(
        any((_home / (room.replace(".", "/") + suffix)).exists() for suffix in importlib.machinery.EXTENSION_SUFFIXES)
        for room in HOT_ROOMS
    )


def _find_sources_only() -> None:
    for folder in (_home, _home / "transports"):
        sys.path_importer_cache[str(folder)] = importlib.machinery.FileFinder(
            str(folder),
            (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES),
            (importlib.machinery.SourcelessFileLoader, importlib.machinery.BYTECODE_SUFFIXES),
        )


EDITION = "pure" if os.environ.get("EDGELOOP_PURE", "0") not in ("", "0") or not _compiled() else "compiled"

if EDITION == "pure":
    _find_sources_only()
