"""Exception handlers: the default one, a custom one, and handlers that fail themselves."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from typing import Any

import pytest
from recording import record_errors, turn

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def fail(message: str = "failed in a callback") -> None:
    raise ValueError(message)


def test_default_handler_logs_the_callback(loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture) -> None:
    assert loop.get_exception_handler() is None
    loop.call_soon(fail)
    turn(loop)
    (record,) = caplog.records
    assert record.name == "asyncio"
    assert record.levelno == logging.ERROR
    lines = record.getMessage().splitlines()
    assert lines[0].startswith("Exception in callback fail()")
    assert lines[1].startswith("handle: <Handle fail()")
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_default_handler_lists_the_context(loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop.default_exception_handler({"message": "what happened", "zebra": 1, "apple": "two"})
    (record,) = caplog.records
    assert record.getMessage() == "what happened\napple: 'two'\nzebra: 1"
    assert not record.exc_info


def test_default_handler_without_a_message(loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop.call_exception_handler({})
    assert caplog.records[0].getMessage() == "Unhandled exception in event loop"


def test_default_handler_prints_where_things_were_created(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_debug(True)
    loop.call_soon(fail)
    turn(loop)
    message = caplog.records[0].getMessage()
    assert "Object created at (most recent call last):" in message
    assert "test_default_handler_prints_where_things_were_created" in message


def test_custom_handler(loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[tuple[asyncio.AbstractEventLoop, dict[str, Any]]] = []

    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        calls.append((loop, context))

    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    loop.call_soon(fail)
    turn(loop)
    ((given, context),) = calls
    assert given is loop
    assert isinstance(context["exception"], ValueError)
    assert context["exception"].__traceback__ is not None
    assert caplog.records == []
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None
    loop.call_soon(fail)
    turn(loop)
    assert len(calls) == 1
    assert len(caplog.records) == 1


def test_custom_handler_may_defer_to_the_default(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_exception_handler(lambda loop, context: loop.default_exception_handler(context))
    loop.call_soon(fail)
    turn(loop)
    assert "Exception in callback fail()" in caplog.text


@pytest.mark.parametrize("wrong", [1, "handler", 3j], ids=str)
def test_handler_must_be_callable(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    with pytest.raises(TypeError, match="A callable object or None is expected, got "):
        loop.set_exception_handler(wrong)
    assert loop.get_exception_handler() is None


def test_a_handler_that_fails_is_reported(loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture) -> None:
    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        raise LookupError("the handler failed too")

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    called: list[int] = []
    loop.call_soon(called.append, 1)
    turn(loop)
    assert called == [1]
    (record,) = caplog.records
    assert record.getMessage().startswith("Unhandled error in exception handler\ncontext: {")
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_out_of_a_handler_leaves_the_loop(loop: asyncio.AbstractEventLoop, kind: type[BaseException]) -> None:
    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        raise kind("from the handler")

    called: list[int] = []
    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.call_soon(called.append, 1)
    with pytest.raises(kind, match="from the handler"):
        loop.run_forever()
    loop.set_exception_handler(None)
    turn(loop)
    assert called == [1]


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError("no repr")


def test_default_handler_that_fails_is_logged(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.call_exception_handler({"message": "m", "thing": Unprintable()})
    (record,) = caplog.records
    assert record.getMessage() == "Exception in default exception handler"


def test_both_handlers_fail(loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture) -> None:
    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        raise LookupError("the handler failed too")

    loop.set_exception_handler(handler)
    loop.call_exception_handler({"message": "m", "thing": Unprintable()})
    (record,) = caplog.records
    assert "while handling an unexpected error in custom exception handler" in record.getMessage()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="handlers run in the failing context since Python 3.12")
def test_handler_runs_in_the_context_of_what_failed(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []
    loop.set_exception_handler(lambda loop, context: seen.append(variable.get()))
    context = contextvars.copy_context()
    context.run(variable.set, "the callback's")
    loop.call_soon(fail, context=context)
    turn(loop)
    assert seen == ["the callback's"]


def test_the_same_exception_is_reported_each_time(loop: asyncio.AbstractEventLoop) -> None:
    contexts = record_errors(loop)
    for number in range(5):
        loop.call_soon(fail, str(number))
        loop.call_later(0, fail, str(number))
        loop.call_soon_threadsafe(fail, str(number))
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert sorted(str(context["exception"]) for context in contexts) == sorted("01234" * 3)


def test_subclass_may_override_the_default_handler(loop: asyncio.AbstractEventLoop) -> None:
    contexts: list[dict[str, Any]] = []

    class Subclass(type(loop)):  # type: ignore[misc]  # whichever loop is under test
        def default_exception_handler(self, context: dict[str, Any]) -> None:
            contexts.append(context)

    other = Subclass()
    try:
        other.call_soon(fail)
        turn(other)
        assert len(contexts) == 1
    finally:
        other.close()
