"""create_future, create_task with every keyword of the running Python, and task factories."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from typing import Any

import pytest
from recording import Run

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


def test_create_future(loop: asyncio.AbstractEventLoop) -> None:
    future = loop.create_future()
    assert isinstance(future, asyncio.Future)
    assert future.get_loop() is loop
    loop.call_soon(future.set_result, 1)
    assert loop.run_until_complete(future) == 1


def test_future_callbacks_run_next_turn_in_their_context(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    seen: list[str] = []

    async def main() -> None:
        future = loop.create_future()
        context = contextvars.copy_context()
        context.run(variable.set, "given")
        future.add_done_callback(lambda _: seen.append(variable.get()), context=context)
        future.add_done_callback(lambda _: seen.append(variable.get()))
        future.set_result(None)
        assert seen == []
        await asyncio.sleep(0)

    run(main())
    assert seen == ["given", "unset"]


async def test_create_task(loop: asyncio.AbstractEventLoop) -> None:
    task = loop.create_task(answer())
    assert type(task) is asyncio.Task
    assert task.get_loop() is loop
    assert not task.done()
    assert task in asyncio.all_tasks()
    assert await task == 42


def test_tasks_outside_the_running_loop(loop: asyncio.AbstractEventLoop) -> None:
    task = loop.create_task(answer())
    assert asyncio.all_tasks(loop) == {task}
    assert loop.run_until_complete(task) == 42
    assert asyncio.all_tasks(loop) == set()


async def test_task_name(loop: asyncio.AbstractEventLoop) -> None:
    named = loop.create_task(answer(), name="named")
    plain = loop.create_task(answer())
    none = loop.create_task(answer(), name=None)
    assert named.get_name() == "named"
    assert plain.get_name().startswith("Task-")
    assert none.get_name().startswith("Task-")
    await asyncio.gather(named, plain, none)


async def test_task_context(loop: asyncio.AbstractEventLoop) -> None:
    async def change() -> str:
        before = variable.get()
        variable.set("changed")
        await asyncio.sleep(0)
        return f"{before} {variable.get()}"

    context = contextvars.copy_context()
    context.run(variable.set, "given")
    assert await loop.create_task(change(), context=context) == "given changed"
    assert context[variable] == "changed"
    assert await loop.create_task(change()) == "unset changed"
    assert variable.get() == "unset"


async def test_current_task(loop: asyncio.AbstractEventLoop) -> None:
    async def current() -> asyncio.Task[Any] | None:
        return asyncio.current_task()

    task = loop.create_task(current())
    assert await task is task
    seen = loop.create_future()
    loop.call_soon(lambda: seen.set_result(asyncio.current_task()))
    assert await seen is None


def test_create_task_needs_a_coroutine(loop: asyncio.AbstractEventLoop) -> None:
    nothing: Any = 42
    with pytest.raises(TypeError, match="a coroutine was expected, got 42"):
        loop.create_task(nothing)


def test_unknown_keyword_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    create: Any = loop.create_task
    coroutine = answer()
    with pytest.raises(TypeError, match="unknown"):
        create(coroutine, unknown=1)
    coroutine.close()


def test_factory_is_none_by_default_and_is_checked(loop: asyncio.AbstractEventLoop) -> None:
    assert loop.get_task_factory() is None
    wrong: Any = object()
    with pytest.raises(TypeError, match=r"^task factory must be a callable or None$"):
        loop.set_task_factory(wrong)
    assert loop.get_task_factory() is None


def test_factory(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    class MyTask(asyncio.Task[Any]):
        pass

    def factory(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> MyTask:
        return MyTask(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)  # type: ignore[arg-type]  # typeshed wants Generators accepted too
    assert loop.get_task_factory() is factory

    async def main() -> None:
        task = loop.create_task(answer())
        assert type(task) is MyTask
        named = loop.create_task(answer(), name="named")
        assert named.get_name() == "named"
        assert (await task, await named) == (42, 42)

    run(main())
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    task = loop.create_task(answer())
    assert type(task) is asyncio.Task
    run(asyncio.wait_for(task, 30))


def test_what_a_factory_is_called_with(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """Only what the caller passed reaches a factory; without a context, not even that keyword on older Pythons."""
    calls: list[dict[str, Any]] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        calls.append(kwargs)
        return asyncio.Task(coro, loop=loop, **kwargs)

    context = contextvars.copy_context()
    loop.set_task_factory(factory)
    task = loop.create_task(answer(), name="named", context=context)
    assert task.get_name() == "named"
    loop.run_until_complete(task)
    (kwargs,) = calls
    assert kwargs["context"] is context
    assert "eager_start" not in kwargs
    assert set(kwargs) <= {"context", "name"}


def test_a_factory_that_takes_only_the_coroutine(loop: asyncio.AbstractEventLoop) -> None:
    """The signature that the documentation asks for before contexts: (loop, coro)."""
    if sys.version_info >= (3, 13, 3):
        pytest.skip("since 3.13.3 keywords are passed on to the factory")

    def factory(loop: asyncio.AbstractEventLoop, coro: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=loop)

    loop.set_task_factory(factory)
    task = loop.create_task(answer(), name="named")
    assert task.get_name() == "named"
    assert loop.run_until_complete(task) == 42


def test_a_factory_that_raises(loop: asyncio.AbstractEventLoop) -> None:
    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        raise LookupError("no task today")

    loop.set_task_factory(factory)
    coroutine = answer()
    with pytest.raises(LookupError, match="no task today"):
        loop.create_task(coroutine)
    coroutine.close()
    loop.set_task_factory(None)


if sys.version_info >= (3, 12):

    def test_eager_factory_runs_up_to_the_first_suspension(loop: asyncio.AbstractEventLoop, run: Run) -> None:
        steps: list[str] = []

        async def step() -> str:
            steps.append("started")
            await asyncio.sleep(0)
            steps.append("resumed")
            return "done"

        async def main() -> None:
            loop.set_task_factory(asyncio.eager_task_factory)
            task = loop.create_task(step(), name="eager")
            assert steps == ["started"]
            assert task.get_name() == "eager"
            assert await task == "done"
            assert steps == ["started", "resumed"]

        run(main())

    def test_eager_task_that_never_suspends_is_done_at_once(loop: asyncio.AbstractEventLoop, run: Run) -> None:
        async def immediate() -> int:
            return 7

        async def main() -> None:
            loop.set_task_factory(asyncio.eager_task_factory)
            context = contextvars.copy_context()
            task = loop.create_task(immediate(), context=context)
            assert task.done()
            assert task.result() == 7
            async with asyncio.TaskGroup() as group:
                inner = group.create_task(immediate())
            assert inner.result() == 7
            assert await asyncio.gather(immediate(), immediate()) == [7, 7]

        run(main())

    def test_custom_eager_factory(loop: asyncio.AbstractEventLoop, run: Run) -> None:
        class MyTask(asyncio.Task[Any]):
            pass

        async def immediate() -> int:
            return 7

        async def main() -> None:
            create: Any = asyncio.create_eager_task_factory(MyTask)
            loop.set_task_factory(create)
            task = loop.create_task(immediate())
            assert type(task) is MyTask
            assert task.done()

        run(main())


if sys.version_info >= (3, 14):

    @pytest.mark.parametrize("eager_start", [True, False])
    def test_eager_start_keyword(loop: asyncio.AbstractEventLoop, run: Run, eager_start: bool) -> None:
        steps: list[str] = []

        async def step() -> None:
            steps.append("started")

        async def main() -> None:
            task = loop.create_task(step(), eager_start=eager_start)
            assert bool(steps) is eager_start
            await task

        run(main())


async def test_task_group(loop: asyncio.AbstractEventLoop) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(answer()) for _ in range(100)]
    assert [task.result() for task in tasks] == [42] * 100


async def test_a_failing_task_cancels_its_group(loop: asyncio.AbstractEventLoop) -> None:
    async def fail() -> None:
        raise ValueError("one task of the group")

    with pytest.raises(ExceptionGroup, match="unhandled errors in a TaskGroup"):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(asyncio.sleep(60))


async def test_cancel_a_task(loop: asyncio.AbstractEventLoop) -> None:
    task = loop.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel("message")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@pytest.mark.counts_references
def test_a_task_exception_nobody_took_is_reported(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    async def fail() -> None:
        raise ValueError("nobody asked")

    async def main() -> None:
        task = loop.create_task(fail())
        await asyncio.wait([task])
        del task

    run(main())
    assert [context["message"] for context in contexts] == ["Task exception was never retrieved"]


async def test_classes_that_are_put_in_place_of_asyncios(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In asyncio.tasks and asyncio.futures, where asyncio's own loops look; asyncio.Task is another name."""

    class MyTask(asyncio.Task[None]):
        pass

    class MyFuture(asyncio.Future[None]):
        pass

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "Task", MyTask)
        patch.setattr(asyncio, "Future", MyFuture)
        assert type(loop.create_future()) is not MyFuture
        task = loop.create_task(asyncio.sleep(0))
        assert type(task) is not MyTask
        await task
        patch.setattr(asyncio.tasks, "Task", MyTask)
        patch.setattr(asyncio.futures, "Future", MyFuture)
        assert type(loop.create_future()) is MyFuture
        task = loop.create_task(asyncio.sleep(0))
        assert type(task) is MyTask
        await task
