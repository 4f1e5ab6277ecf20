"""call_soon: order, contexts and handles."""

from __future__ import annotations

import asyncio
import contextvars
import weakref

import pytest
from recording import record_errors, turn

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
holder: contextvars.ContextVar[object] = contextvars.ContextVar("holder")


def test_callbacks_run_in_order_with_their_arguments(loop: asyncio.AbstractEventLoop) -> None:
    order: list[tuple[int, ...]] = []

    def collect(*args: int) -> None:
        order.append(args)

    loop.call_soon(collect)
    loop.call_soon(collect, 1)
    loop.call_soon(collect, 2, 3)
    loop.call_soon_threadsafe(collect, 4, 5, 6)
    assert order == []
    turn(loop)
    assert order == [(), (1,), (2, 3), (4, 5, 6)]


def test_what_a_callback_schedules_runs_next_turn(loop: asyncio.AbstractEventLoop) -> None:
    order: list[int] = []

    def first() -> None:
        order.append(1)
        loop.call_soon(order.append, 3)

    loop.call_soon(first)
    loop.call_soon(order.append, 2)
    turn(loop)
    assert order == [1, 2]
    turn(loop)
    assert order == [1, 2, 3]


def test_a_busy_callback_does_not_starve_timers_and_io(loop: asyncio.AbstractEventLoop) -> None:
    stopped = False

    def spin() -> None:
        if not stopped:
            loop.call_soon(spin)

    def stop() -> None:
        nonlocal stopped
        stopped = True
        loop.stop()

    loop.call_soon(spin)
    loop.call_later(0.01, stop)
    loop.run_forever()
    assert stopped


def test_ten_thousand_callbacks_in_order(loop: asyncio.AbstractEventLoop) -> None:
    order: list[int] = []
    for number in range(10_000):
        loop.call_soon(order.append, number)
    turn(loop)
    assert order == list(range(10_000))


def test_handle(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    handle = loop.call_soon(called.append, 1)
    assert isinstance(handle, asyncio.Handle)
    assert not handle.cancelled()
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()
    turn(loop)
    assert called == []


def test_handle_cancelled_in_the_turn_it_was_due(loop: asyncio.AbstractEventLoop) -> None:
    called: list[str] = []
    second: asyncio.Handle
    loop.call_soon(lambda: second.cancel())
    second = loop.call_soon(called.append, "cancelled")
    loop.call_soon(called.append, "third")
    turn(loop)
    assert called == ["third"]


def test_handle_repr(loop: asyncio.AbstractEventLoop) -> None:
    handle = loop.call_soon(print)
    assert repr(handle).startswith("<Handle ")
    assert "print" in repr(handle)
    handle.cancel()
    assert repr(handle) == "<Handle cancelled>"


def test_context_is_copied_when_scheduling(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []
    token = variable.set("at scheduling")
    loop.call_soon(lambda: seen.append(variable.get()))
    variable.reset(token)
    loop.call_soon(lambda: seen.append(variable.get()))
    turn(loop)
    assert seen == ["at scheduling", "unset"]


def test_context_keyword(loop: asyncio.AbstractEventLoop) -> None:
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    seen: list[str] = []

    def see() -> None:
        seen.append(variable.get())

    def change() -> None:
        see()
        variable.set("changed")

    handle = loop.call_soon(change, context=context)
    loop.call_soon(see, context=context)
    loop.call_soon_threadsafe(see, context=context)
    loop.call_later(0, see, context=context)
    loop.call_at(loop.time(), see, context=context)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert seen == ["given", "changed", "changed", "changed", "changed"]
    assert variable.get() == "unset"
    assert context[variable] == "changed"
    get_context = getattr(handle, "get_context", None)  # since Python 3.12
    if get_context is not None:
        assert get_context() is context


def test_changes_of_a_callback_stay_in_its_context(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []

    def change() -> None:
        variable.set("changed")

    loop.call_soon(change)
    loop.call_soon(lambda: seen.append(variable.get()))
    turn(loop)
    assert seen == ["unset"]


def test_context_is_left_after_an_exception(loop: asyncio.AbstractEventLoop) -> None:
    contexts = record_errors(loop)
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    seen: list[str] = []

    def fail() -> None:
        raise ValueError("inside the context")

    loop.call_soon(fail, context=context)
    loop.call_soon(lambda: seen.append(variable.get()), context=context)
    loop.call_soon(lambda: seen.append(variable.get()))
    turn(loop)
    assert seen == ["given", "unset"]
    assert len(contexts) == 1


def test_entering_a_context_that_is_entered_is_reported(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []
    context = contextvars.copy_context()

    def run_in_it() -> None:
        loop.call_soon(called.append, "inside", context=context)
        loop.call_soon(called.append, "outside")
        turn(loop)

    context.run(run_in_it)
    assert called == ["outside"]
    assert "cannot enter context" in caplog.text


def test_an_exception_does_not_stop_the_turn(loop: asyncio.AbstractEventLoop) -> None:
    contexts = record_errors(loop)
    called: list[int] = []

    def fail() -> None:
        raise ValueError("one of many")

    loop.call_soon(fail)
    loop.call_soon(called.append, 1)
    turn(loop)
    assert called == [1]
    (context,) = contexts
    assert context["message"].startswith("Exception in callback ")
    assert "fail" in context["message"]
    assert isinstance(context["exception"], ValueError)
    assert isinstance(context["handle"], asyncio.Handle)


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe"])
def test_positional_arguments_only(loop: asyncio.AbstractEventLoop, method: str) -> None:
    with pytest.raises(TypeError):
        getattr(loop, method)()
    with pytest.raises(TypeError):
        getattr(loop, method)(print, unknown=1)


@pytest.mark.counts_references
def test_a_handle_that_has_run_stays_its_holder_s(loop: asyncio.AbstractEventLoop) -> None:
    """Handles that nobody holds are used again: one that is held, or weakly referred to, must stay what it was."""
    called: list[str] = []
    held = loop.call_soon(called.append, "held")
    weak = weakref.ref(loop.call_soon(called.append, "weak"))
    loop.call_soon(called.append, "dropped")
    turn(loop)
    assert weak() is None
    fresh = [loop.call_soon(called.append, f"fresh {number}") for number in range(5)]
    assert all(handle is not held for handle in fresh)
    held.cancel()
    fresh[0].cancel()
    assert held.cancelled() and fresh[0].cancelled() and not fresh[1].cancelled()
    turn(loop)
    assert called == ["held", "weak", "dropped", "fresh 1", "fresh 2", "fresh 3", "fresh 4"]


@pytest.mark.counts_references
def test_a_timer_that_is_over_stays_its_holder_s(loop: asyncio.AbstractEventLoop) -> None:
    """The same for timers, those that were cancelled and those that have fired."""
    called: list[str] = []
    held = [loop.call_later(0, called.append, "fired"), loop.call_later(10, called.append, "cancelled")]
    weak = [weakref.ref(loop.call_later(0, called.append, "fired")), weakref.ref(loop.call_later(10, print))]
    held[1].cancel()
    cancelled = weak[1]()
    assert cancelled is not None
    cancelled.cancel()
    del cancelled
    loop.call_later(0, called.append, "dropped")
    loop.call_later(10, called.append, "never").cancel()
    moments = [handle.when() for handle in held]
    turn(loop)
    turn(loop)
    assert [reference() for reference in weak] == [None, None]
    fresh = [loop.call_later(0, called.append, f"fresh {number}") for number in range(5)]
    assert all(handle is not old for handle in fresh for old in held)
    assert [handle.when() for handle in held] == moments
    assert [handle.cancelled() for handle in held] == [False, True]
    assert not any(handle.cancelled() for handle in fresh)
    fresh[0].cancel()
    turn(loop)
    turn(loop)
    assert called == ["fired", "fired", "dropped", "fresh 1", "fresh 2", "fresh 3", "fresh 4"]


@pytest.mark.counts_references
def test_what_a_dropped_handle_held_is_let_go(loop: asyncio.AbstractEventLoop) -> None:
    class Thing:
        def method(self, argument: object) -> None:
            pass

    thing, argument, value = Thing(), Thing(), Thing()
    gone = [weakref.ref(thing), weakref.ref(argument), weakref.ref(value)]
    context = contextvars.copy_context()
    context.run(holder.set, value)
    loop.call_soon(thing.method, argument, context=context)
    del thing, argument, value, context
    turn(loop)
    assert [reference() for reference in gone] == [None, None, None]


def test_a_callback_that_cancels_its_own_handle(loop: asyncio.AbstractEventLoop) -> None:
    """As it runs already, that has no effect; least of all on whoever would get the handle after it."""
    called: list[str] = []
    handles: list[asyncio.Handle] = []

    def cancel_myself() -> None:
        handles.pop().cancel()
        called.append("mine")

    handles.append(loop.call_soon(cancel_myself))
    turn(loop)
    for number in range(3):
        loop.call_soon(called.append, f"next {number}")
    turn(loop)
    assert called == ["mine", "next 0", "next 1", "next 2"]
