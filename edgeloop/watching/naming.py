"""What to call a callback or a channel in a report. Never raises, and never returns more than a line."""

from __future__ import annotations

import asyncio
from typing import Any

from .. import stdlib


def describe(what: Any) -> str:
    """Return a name for a handle, by its task or its callback, or for a channel, by its protocol."""
    try:
        return _describe(what)
    except Exception:  # from somebody's __repr__ or __getattr__
        return type(what).__name__


def _describe(what: Any) -> str:
    callback = getattr(what, "_callback", None)
    if callback is None:
        return _describe_channel(what)
    owner = getattr(callback, "__self__", None)
    inner = getattr(owner, "_callback", None)
    if inner is not None and hasattr(owner, "run_unless_cancelled"):  # of call_soon_threadsafe: SharedHandle
        callback = inner
        owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine: Any = owner.get_coro()
        name = getattr(coroutine, "__qualname__", None) or type(coroutine).__name__
        code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
        place = f" at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
        return f"{owner.get_name()}: {name}(){place}"
    return stdlib.describe_callback(callback, (), False)


def _describe_channel(channel: Any) -> str:
    kind = type(channel).__name__
    get_protocol = getattr(channel, "get_protocol", None)
    protocol = None if get_protocol is None else get_protocol()
    get_app_protocol = getattr(protocol, "get_app_protocol", None)
    if get_app_protocol is not None:  # TLS
        protocol = get_app_protocol()
    if protocol is None:
        return f"{kind} fd={getattr(channel, 'fd', -1)}"
    return f"{type(protocol).__qualname__} of {kind}"
