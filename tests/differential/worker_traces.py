"""What a program of the differential campaign did, in plain words that two loops can be compared by."""

from __future__ import annotations

import asyncio
import logging
import re
import zlib
from collections.abc import Callable
from typing import Any

#: One step's events, by who saw them. What two actors see in one step has no order that anybody promises.
Step = dict[str, list[Any]]

MESSAGES_OF = (
    ValueError,
    RuntimeError,
    asyncio.InvalidStateError,
    EOFError,
    asyncio.LimitOverrunError,
)
#: Differ from loop to loop in every run: addresses, descriptors, names of private classes.
VARIES = re.compile(r"<.*>|/tmp/\S+|0x[0-9a-f]+|\b\d+\b|fd=\S+", re.DOTALL)
#: What is reported of a callback that raised: asyncio names it, edgeloop names the transport and the protocol.
OF_CALLBACKS = re.compile("^Exception in (callback|a callback of the)|connection_made")


class Data:
    """Bytes that may still become more."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.content = bytearray()


class Trace:
    """Collects events. ``moved`` counts them, so that who settles sees that something still happens."""

    def __init__(self) -> None:
        self.moved = 0
        self._steps: list[Step] = [{}]

    def note(self, who: str, *what: Any) -> None:
        """Something happened to an actor."""
        self.moved += 1
        self._steps[-1].setdefault(who, []).append([plain(part) for part in what])

    def data(self, who: str, kind: str, data: bytes | bytearray | memoryview) -> None:
        """Bytes came. Sizes are nobody's promise: those of one step that follow each other are one."""
        self.moved += 1
        events = self._steps[-1].setdefault(who, [])
        if not (events and isinstance(events[-1], Data) and events[-1].kind == kind):
            events.append(Data(kind))
        events[-1].content += data

    def next_step(self, *what: Any) -> None:
        """All that happens from here on belongs to this step of the program."""
        self._steps.append({"step": [plain(part) for part in what]})

    def finish(self) -> list[Step]:
        """All steps, for JSON."""
        return [{who: [whole(event) for event in events] for who, events in step.items()} for step in self._steps]


def whole(event: Any) -> Any:
    """An event whose bytes have all come."""
    return [event.kind, plain(bytes(event.content))] if isinstance(event, Data) else event


def plain(value: Any) -> Any:
    """What of a value both loops must agree on, for JSON."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        kind = "" if isinstance(value, bytes) else type(value).__name__ + " of "
        return kind + (repr(data) if len(data) <= 40 else f"{len(data)} bytes, sum {zlib.crc32(data):x}")
    if isinstance(value, BaseException):
        return raised(value)
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(part) for part in value), key=str)
    for base in (
        asyncio.Future,
        asyncio.BaseTransport,
        asyncio.AbstractServer,
        asyncio.Handle,
        asyncio.AbstractEventLoop,
    ):
        if isinstance(value, base):
            return base.__name__
    return type(value).__name__


def raised(exc: BaseException) -> Any:
    """An exception: its class, its errno, and its message where asyncio has one that says what was done wrong."""
    name = type(exc).__name__
    if isinstance(exc, OSError) and exc.errno is not None:
        return f"{name} {exc.errno}"
    if isinstance(exc, BaseExceptionGroup):
        return [name, [raised(part) for part in exc.exceptions]]
    if isinstance(exc, (TypeError, AttributeError, AssertionError)):
        return "TypeError"  # which of them a wrong type leads to is an accident of asyncio's
    if isinstance(exc, MESSAGES_OF) and not isinstance(exc, NotImplementedError):
        return f"{name}: {words(str(exc))}"
    return name


def words(message: str) -> str:
    """A message without what varies."""
    return VARIES.sub("_", message)


def attempt(trace: Trace, who: str, name: str, call: Callable[[], Any]) -> Any:
    """Call, note what it returned or raised, and return what it returned."""
    try:
        result = call()
    except Exception as exc:
        if name == "write_eof" and isinstance(exc, OSError):
            trace.note(who, name, None)  # the peer has reset: docs/differences.md
        else:
            trace.note(who, name, "raised", exc)
        return None
    trace.note(who, name, result)
    return result


def handler_of(trace: Trace, raises: bool = False) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """An exception handler that notes what it is told, and may raise."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message = str(context.get("message"))
        if "never retrieved" in message or "was destroyed" in message:
            return  # the collector says when
        keys = sorted(key for key in context if not key.endswith("traceback"))
        if OF_CALLBACKS.search(message):  # docs/differences.md: a report names the connection
            trace.note("handler", "a callback raised", context.get("exception"))
        else:
            trace.note("handler", words(message), context.get("exception"), keys)
        if raises:
            raise ArithmeticError("from the exception handler")

    return handle


class LogTrace(logging.Handler):
    """Notes what the asyncio logger is told at WARNING and above."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(logging.WARNING)
        self.trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        first = record.getMessage().split("\n")[0]
        self.trace.note("log", record.levelname, words(first))


async def settle(trace: Trace, patience: int = 0, quiet_turns: int = 8) -> None:
    """Let the loop run until nothing more happens. ``patience`` is for a busy machine, whose kernel delivers late."""
    for _ in range(1 + 2 * patience):
        quiet = 0
        while quiet < quiet_turns:
            before = trace.moved
            await asyncio.sleep(0)
            quiet = quiet + 1 if trace.moved == before else 0
        if patience:
            await asyncio.sleep(0.002 * patience)
