"""edgeloop: an asyncio event loop for Linux, built directly on edge-triggered epoll.

    import edgeloop
    edgeloop.run(main())

``EDITION`` is "compiled" or "pure": the same source, compiled by Cython or not. ``EDGELOOP_PURE=1`` in the environment
selects the pure one; where it runs because there is no other, a RuntimeWarning says why.

PYTEST_DONT_REWRITE: pytest would warn that it can't, wherever this was imported before it (``python -m edgeloop -m pytest``).
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if not sys.platform.startswith("linux"):
    raise ImportError(f"edgeloop needs Linux, for epoll; this is {sys.platform}")

from . import _edition
from ._version import __version__

__all__ = [
    "EDITION",
    "EventLoop",
    "Instrument",
    "Stats",
    "__version__",
    "install",
    "listen_fds",
    "measure",
    "new_event_loop",
    "notify",
    "notify_watchdog",
    "open_connection",
    "open_unix_connection",
    "run",
    "share",
    "start_server",
    "start_unix_server",
    "stats",
    "unshare",
    "watch",
]

# The modules of the loop are imported when the first of these names is asked for: an import of the package that runs no loop
# shall cost little.
_HOMES = {
    "EDITION": "_edition",
    "EventLoop": "loop.event_loop",
    "Instrument": "core.instrument",
    "install": "policy",
    "loop": "",
    "new_event_loop": "policy",
    "open_connection": "streams",
    "open_unix_connection": "streams",
    "run": "policy",
    "start_server": "streams",
    "start_unix_server": "streams",
    "streams": "",
}

# What few programs use: the module is imported when it is asked for.
_SELDOM = {
    "Stats": "watching.snapshot",
    "listen_fds": "serving.activation",
    "measure": "watching.snapshot",
    "notify": "serving.activation",
    "notify_watchdog": "serving.activation",
    "share": "watching.shared_file",
    "stats": "watching.snapshot",
    "unshare": "watching.shared_file",
    "watch": "watching.watchdog",
}

if TYPE_CHECKING:
    # A checker sees the names where they are made, the class where policies are, and no others.
    from . import loop as loop
    from . import streams as streams
    from ._edition import EDITION
    from .core.instrument import Instrument
    from .loop.event_loop import EventLoop
    from .policy import install, new_event_loop, run
    from .serving.activation import listen_fds, notify, notify_watchdog
    from .streams import open_connection, open_unix_connection, start_server, start_unix_server
    from .watching.shared_file import share, unshare
    from .watching.snapshot import Stats, measure, stats
    from .watching.watchdog import watch

    if sys.version_info < (3, 16):
        from asyncio import DefaultEventLoopPolicy

        class EventLoopPolicy(DefaultEventLoopPolicy):
            """asyncio's policy with edgeloop's loop."""

else:

    def __getattr__(name):
        if name in _HOMES:
            _edition.load()
            for public, home in _HOMES.items():
                module = sys.modules[f"{__name__}.{home or public}"]
                globals()[public] = getattr(module, public) if home else module
            return globals()[name]
        if name in _SELDOM:
            _edition.load()
            found = getattr(importlib.import_module(f"{__name__}.{_SELDOM[name]}"), name)
            globals()[name] = found
            return found
        # Policies are deprecated since Python 3.14 and gone in 3.16: the class is made when it is asked for, so that the
        # import neither warns nor fails.
        if name == "EventLoopPolicy":
            _edition.load()
            return sys.modules[f"{__name__}.policy"].policy_class()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *(["EventLoopPolicy"] if sys.version_info < (3, 16) else [])})
