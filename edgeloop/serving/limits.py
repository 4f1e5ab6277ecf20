"""``Limits``: how many connections a server has, how long they may last, how fast they may be.

One object holds what was asked for, and is never changed: ``changed`` makes the next one. Nothing here acts on a limit.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self, TypedDict

Overload = Callable[[Any], object]


class ServerLimits(TypedDict, total=False):
    """The keyword arguments of ``create_server`` and ``create_unix_server`` that are limits."""

    max_connections: int | None
    overload: str | Overload | None
    max_connections_per_peer: int | None
    idle_timeout: float | None
    first_byte_timeout: float | None
    write_timeout: float | None
    max_lifetime: float | None
    read_rate: float | None
    write_rate: float | None
    proxy_protocol: Iterable[str] | None


COUNTS = ("max_connections", "max_connections_per_peer")
SECONDS = ("idle_timeout", "first_byte_timeout", "write_timeout", "max_lifetime")
TIMED_OUT_KINDS = ("idle", "first_byte", "write", "lifetime")
RATES = ("read_rate", "write_rate")
OVERLOADS = ("wait", "refuse")


class _Fields(NamedTuple):
    max_connections: int | None = None
    overload: str | Overload | None = None
    max_connections_per_peer: int | None = None
    idle_timeout: float | None = None
    first_byte_timeout: float | None = None
    write_timeout: float | None = None
    max_lifetime: float | None = None
    read_rate: float | None = None
    write_rate: float | None = None
    proxy_protocol: tuple[str, ...] | None = None


class Limits(_Fields):
    """What one server keeps to; None is no limit.

    ``max_connections`` and ``max_connections_per_peer`` count open connections, from accept(2) on. ``overload`` says what
    happens at the first of them: "wait" (None too), "refuse", or a callable that gets the transport. At the second they are
    refused, or the callable is called. The timeouts are in seconds, the rates in bytes a second and connection.
    ``proxy_protocol`` lists the addresses and networks that are trusted to say whom they speak for. Raises TypeError and
    ValueError, which name the argument.
    """

    # No dataclass: the start of each server would wait for that module, and for the methods that it writes.
    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self._check()
        return self

    def _check(self) -> None:
        for name in COUNTS:
            count = getattr(self, name)
            if count is not None and (not isinstance(count, int) or isinstance(count, bool)):
                raise TypeError(f"{name} must be an int or None, got {count!r}")
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, or None for no limit, got {count!r}")
        for name in SECONDS + RATES:
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                raise TypeError(f"{name} must be a number or None, got {value!r}")
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be over 0 and finite, or None for no limit, got {value!r}")
        if self.proxy_protocol is not None:
            from .proxy_protocol import TrustedPeers  # which needs ipaddress: a server without it shall not

            TrustedPeers(self.proxy_protocol)
        if self.overload is None:
            return
        if self.overload not in OVERLOADS and not callable(self.overload):
            raise ValueError(f"overload must be 'wait', 'refuse' or a callable, got {self.overload!r}")
        if inspect.iscoroutinefunction(self.overload):
            raise TypeError(f"overload must be no coroutine function: it writes and returns, got {self.overload!r}")
        if not _is_too_much(self.max_connections, self.max_connections_per_peer, self.overload):
            raise ValueError(f"overload={self.overload!r} needs max_connections: nothing is too much without it")

    def changed(self, changes: Mapping[str, Any], where: str) -> Limits:
        """Return these limits with ``changes``. ``where`` is who was called, for the TypeError of an unknown name."""
        if not changes:
            return self
        for name in changes:
            if name not in FIELDS:
                raise TypeError(f"{where}() got an unexpected keyword argument {name!r}")
        wanted = dict(changes)
        total = wanted.get("max_connections", self.max_connections)
        per_peer = wanted.get("max_connections_per_peer", self.max_connections_per_peer)
        if not _is_too_much(total, per_peer, self.overload):
            wanted.setdefault("overload", None)  # what was said about them before goes with them
        trusted = wanted.get("proxy_protocol")
        if isinstance(trusted, (str, bytes)):
            raise TypeError(f"proxy_protocol must list addresses or networks, got {trusted!r}")
        if trusted is not None:
            wanted["proxy_protocol"] = tuple(trusted)
        return Limits(**(self._asdict() | wanted))


def _is_too_much(total: int | None, per_peer: int | None, overload: str | Overload | None) -> bool:
    # Return True if there is a limit that ``overload`` can speak of: a peer's connections never wait.
    return total is not None or (per_peer is not None and overload != "wait")


FIELDS = Limits._fields
NO_LIMITS = Limits()


def limits_of_environment(environment: Mapping[str, str] = os.environ) -> Limits:
    """Return the limits that ``EDGELOOP_MAX_CONNECTIONS``, ``EDGELOOP_IDLE_TIMEOUT`` and so on ask for.

    One variable for each field, its name in capitals; empty is as not set. ``EDGELOOP_PROXY_PROTOCOL`` lists addresses with
    commas between them. Raise ValueError, which names the variable.
    """
    wanted: dict[str, Any] = {}
    for name in FIELDS:
        variable = f"EDGELOOP_{name.upper()}"
        text = environment.get(variable, "").strip()
        if not text:
            continue
        try:
            if name in COUNTS:
                wanted[name] = int(text)
            elif name in SECONDS + RATES:
                wanted[name] = float(text)
            elif name == "proxy_protocol":
                wanted[name] = [part.strip() for part in text.split(",") if part.strip()]
            else:
                wanted[name] = text.lower()
            NO_LIMITS.changed({name: wanted[name]} if name != "overload" else {}, "")
        except ValueError as exc:
            raise ValueError(f"{variable}={text!r} in the environment: {exc}") from None
    try:
        return NO_LIMITS.changed(wanted, "")
    except ValueError as exc:
        raise ValueError(
            f"EDGELOOP_OVERLOAD={environment.get('EDGELOOP_OVERLOAD')!r} in the environment: {exc}"
        ) from None
