"""Programs of the loop itself: callbacks, timers, runs and stops, tasks in each of asyncio's waits, contexts, wrong arguments.

The clock is the program's, so that timers have one order; uvloop's can't be replaced, and it does not play those.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import os
import re
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from worker_traces import Trace, attempt, handler_of

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
INTERRUPTIONS = {"KeyboardInterrupt": KeyboardInterrupt, "SystemExit": SystemExit}
EXCEPTIONS = {
    "ValueError": ValueError,
    "CancelledError": asyncio.CancelledError,
    "TimeoutError": TimeoutError,
    **INTERRUPTIONS,
}
#: What needs the clock, in a program's JSON.
HAS_TIMERS = re.compile('"(later|at|sleep|timeout|wait_for|wait|time)"')


class Stage:
    """A loop, what was scheduled on it, and the tasks and futures that a program refers to by number."""

    def __init__(self, program: dict[str, Any], trace: Trace, loop: Any) -> None:
        self.trace = trace
        self.loop = loop
        self.now = 1000.0
        self.handles: list[Any] = []
        self.tasks: list[Any] = []
        self.futures: list[Any] = []
        self.count = 0
        self.running = False
        with contextlib.suppress(AttributeError):
            loop.time = lambda: self.now

    def number(self) -> int:
        self.count += 1
        return self.count

    # What a program does, and its callbacks do

    def act(self, who: str, action: list[Any]) -> Any:
        name, *arguments = action
        return getattr(self, "do_" + name)(who, *arguments)

    def callback(self, number: int, actions: list[Any]) -> None:
        who = "loop"
        self.trace.note(who, "callback", number, variable.get(), asyncio.get_running_loop() is self.loop)
        for action in actions:
            self.act(who, action)

    def do_soon(self, who: str, actions: list[Any]) -> None:
        self.handles.append(self.loop.call_soon(self.callback, self.number(), actions))

    def do_soon_in(self, who: str, value: int, actions: list[Any]) -> None:
        """In a context of its own."""
        context = contextvars.copy_context()
        context.run(variable.set, value)
        self.handles.append(self.loop.call_soon(self.callback, self.number(), actions, context=context))

    def do_threadsafe(self, who: str, actions: list[Any]) -> None:
        self.handles.append(self.loop.call_soon_threadsafe(self.callback, self.number(), actions))

    def do_thread(self, who: str, actions: list[Any]) -> None:
        """From another thread, which has ended when the program goes on."""
        arguments = (self.callback, self.number(), actions)
        thread = threading.Thread(
            target=attempt, args=(self.trace, who, "thread", lambda: self.loop.call_soon_threadsafe(*arguments))
        )
        thread.start()
        thread.join()

    def do_later(self, who: str, delay: float, actions: list[Any]) -> None:
        number = self.number()
        self.handles.append(self.loop.call_later(delay + number / 1000, self.callback, number, actions))

    def do_at(self, who: str, delay: float, actions: list[Any]) -> None:
        number = self.number()
        self.handles.append(self.loop.call_at(self.now + delay + number / 1000, self.callback, number, actions))

    def do_advance(self, who: str, seconds: float) -> None:
        self.now += seconds

    def do_cancel(self, who: str, which: int) -> None:
        if self.handles:
            handle = self.handles[which % len(self.handles)]
            self.trace.note(who, "cancelled", handle.cancelled(), handle.cancel(), handle.cancelled())

    def do_when(self, who: str, which: int) -> None:
        if self.handles:
            attempt(self.trace, who, "when", lambda: self.handles[which % len(self.handles)].when())

    def do_stop(self, who: str) -> None:
        self.loop.stop()

    def do_raise(self, who: str, name: str) -> None:
        raise EXCEPTIONS[name]("wanted")

    def do_set(self, who: str, value: int) -> None:
        variable.set(value)

    def do_state(self, who: str) -> None:
        loop = self.loop
        self.trace.note(who, "state", loop.is_running(), loop.is_closed(), loop.get_debug())

    def do_debug(self, who: str, value: bool) -> None:
        self.loop.set_debug(value)

    def do_call(self, who: str, name: str, *arguments: Any) -> None:
        given = [len if argument == "len" else argument for argument in arguments]
        attempt(self.trace, who, name, lambda: getattr(self.loop, name)(*given))

    def do_handler(self, who: str, which: str) -> None:
        handlers: dict[str, Any] = {
            "none": None,
            "text": "text",
            "noting": handler_of(self.trace),
            "raising": handler_of(self.trace, True),
        }
        attempt(self.trace, who, "set_exception_handler", lambda: self.loop.set_exception_handler(handlers[which]))
        self.trace.note(who, "handler", self.loop.get_exception_handler() is handlers[which])

    def do_report(self, who: str, context: dict[str, Any]) -> None:
        self.loop.call_exception_handler(context)

    def do_signal(self, who: str) -> None:
        """Its callback comes in no order with others."""
        note = (self.trace.note, "signal", "came", self.number())
        attempt(self.trace, who, "add_signal_handler", lambda: self.loop.add_signal_handler(signal.SIGUSR1, *note))

    def do_kill(self, who: str) -> None:
        if signal.getsignal(signal.SIGUSR1) not in (signal.SIG_DFL, None):
            os.kill(os.getpid(), signal.SIGUSR1)

    def do_no_signal(self, who: str) -> None:
        attempt(self.trace, who, "remove_signal_handler", lambda: self.loop.remove_signal_handler(signal.SIGUSR1))

    def do_executor(self, who: str, name: str) -> None:
        """A call in a thread, whose end a task waits for."""
        functions: dict[str, Any] = {"fine": len, "raises": int, "stops": next}
        arguments: dict[str, Any] = {"fine": ("abc",), "raises": ("no",), "stops": (iter(()),)}
        if self.running and name != "stops":
            self.task(who, self.in_thread(functions[name], arguments[name]))

    async def in_thread(self, function: Any, arguments: Any) -> Any:
        return await self.loop.run_in_executor(None, function, *arguments)

    def do_default_executor(self, who: str, which: str) -> None:
        executors: dict[str, Callable[[], Any]] = {
            "threads": lambda: ThreadPoolExecutor(1),
            "none": lambda: None,
            "text": lambda: "text",
        }
        attempt(self.trace, who, "set_default_executor", lambda: self.loop.set_default_executor(executors[which]()))

    # Runs

    def do_run(self, who: str, what: str, actions: list[Any]) -> None:
        """A run of the loop, which ends at the latest when all that is ready has run a few times."""
        self.running = True
        try:
            if what == "forever":
                self.loop.call_soon(self.wind_down, 12)
                result: Any = self.loop.run_forever()
            elif what == "future":
                future = self.loop.create_future()
                self.loop.call_soon(self.wind_down_future, 12, future)
                result = self.loop.run_until_complete(future)
            else:
                result = self.loop.run_until_complete(self.coroutine(who, actions))
            self.trace.note(who, "run", what, result)
        except (Exception, asyncio.CancelledError, *INTERRUPTIONS.values()) as exc:
            self.trace.note(who, "run", what, "raised", exc)
            if isinstance(exc, tuple(INTERRUPTIONS.values())):
                self.do_run(who, "forever", [])  # where what it has left behind goes on is nobody's promise
        finally:
            self.running = False

    def wind_down(self, turns: int) -> None:
        if turns:
            self.loop.call_soon(self.wind_down, turns - 1)
        else:
            self.loop.stop()

    def wind_down_future(self, turns: int, future: Any) -> None:
        if future.done():
            return
        if turns:
            self.loop.call_soon(self.wind_down_future, turns - 1, future)
        else:
            future.set_result("done")

    async def coroutine(self, who: str, actions: list[Any]) -> str:
        for action in actions:
            if action[0] == "sleep":
                await asyncio.sleep(0)
            else:
                self.act(who, action)
        return "returned"

    def do_nested(self, who: str) -> None:
        """A run in a run."""
        coroutine = asyncio.sleep(0)
        attempt(self.trace, who, "nested", lambda: self.loop.run_until_complete(coroutine))
        coroutine.close()

    # Tasks

    def task(self, who: str, coroutine: Any, name: str | None = None) -> None:
        number = len(self.tasks)
        task = self.loop.create_task(coroutine, name=name or f"task {number}")
        self.tasks.append(task)
        task.add_done_callback(lambda task: self.ended(f"task {number}", task))

    def ended(self, who: str, task: Any) -> None:
        if task.cancelled():
            self.trace.note("loop", who, "cancelled")
        elif task.exception() is not None:
            self.trace.note("loop", who, "raised", task.exception())
        else:
            self.trace.note("loop", who, "returned", task.result())

    def do_task(self, who: str, script: list[Any]) -> None:
        self.task(who, self.script(f"task {len(self.tasks)}", script))

    def do_cancel_task(self, who: str, which: int) -> None:
        if self.tasks:
            self.trace.note(who, "cancel", self.tasks[which % len(self.tasks)].cancel())

    def do_resolve(self, who: str, which: int, how: str) -> None:
        future = self.future(which)
        if not future.done():
            {
                "result": lambda: future.set_result("resolved"),
                "exception": lambda: future.set_exception(ValueError("set")),
                "cancel": future.cancel,
            }[how]()

    def future(self, which: int) -> Any:
        while len(self.futures) <= which:
            self.futures.append(self.loop.create_future())
        return self.futures[which]

    async def script(self, who: str, steps: list[Any]) -> str:
        """What a task awaits, one after the other. TaskGroup and wait keep sets, so that their members have no order."""
        actor = who if "member" in who or "awaited" in who else "loop"
        for name, *arguments in steps:
            try:
                result = await getattr(self, "wait_" + name)(who, *arguments)
            except (Exception, asyncio.CancelledError) as exc:
                self.trace.note(actor, who, name, "raised", exc)
                if name != "stubborn":
                    raise
            else:
                self.trace.note(actor, who, name, result)
        return "ended"

    async def wait_yield(self, who: str) -> None:
        await asyncio.sleep(0)

    async def wait_sleep(self, who: str, seconds: float) -> Any:
        return await asyncio.sleep(seconds, "slept")

    async def wait_future(self, who: str, which: int) -> Any:
        return await self.future(which)

    async def wait_shield(self, who: str, which: int) -> Any:
        return await asyncio.shield(self.future(which))

    async def wait_raise(self, who: str, name: str) -> None:
        raise EXCEPTIONS[name]("wanted")

    async def wait_stubborn(self, who: str, steps: list[Any]) -> Any:
        return await self.script(who + " stubborn", steps)

    async def wait_wait_for(self, who: str, seconds: float | None, steps: list[Any]) -> Any:
        return await asyncio.wait_for(self.script(who + " inner", steps), seconds)

    async def wait_timeout(self, who: str, seconds: float | None, steps: list[Any]) -> Any:
        async with asyncio.timeout(seconds):
            return await self.script(who + " timed", steps)

    async def wait_gather(self, who: str, scripts: list[Any], gathers: bool) -> Any:
        return await asyncio.gather(
            *(self.script(f"{who} part {n}", steps) for n, steps in enumerate(scripts)), return_exceptions=gathers
        )

    async def wait_group(self, who: str, scripts: list[Any]) -> Any:
        async with asyncio.TaskGroup() as group:
            for n, steps in enumerate(scripts):
                group.create_task(self.script(f"{who} member {n}", steps))

    async def wait_wait(self, who: str, scripts: list[Any], seconds: float | None, when: str) -> Any:
        tasks = [asyncio.ensure_future(self.script(f"{who} awaited {n}", steps)) for n, steps in enumerate(scripts)]
        done, pending = await asyncio.wait(tasks, timeout=seconds, return_when=when)
        for task in tasks:
            if task in pending:
                task.cancel()
        return [len(done), len(pending)]

    async def wait_act(self, who: str, action: list[Any]) -> Any:
        return self.act("loop", action)


def play(program: dict[str, Any], factory: Callable[[], asyncio.AbstractEventLoop], trace: Trace) -> None:
    loop = factory()
    if type(loop).__module__.startswith("uvloop") and HAS_TIMERS.search(json.dumps(program)):
        trace.note("program", "not played")
        loop.close()
        return
    stage = Stage(program, trace, loop)
    loop.set_exception_handler(handler_of(trace))
    loop.slow_callback_duration = 1e9
    contextvars.Context().run(steps, program, stage)


def steps(program: dict[str, Any], stage: Stage) -> None:
    """All of a program, then its end."""
    for step in program["steps"]:
        stage.trace.next_step(*step)
        try:
            stage.act("loop", step)
        except (Exception, asyncio.CancelledError, *INTERRUPTIONS.values()) as exc:
            stage.trace.note("loop", step[0], "raised", exc)
    if not stage.loop.is_closed():
        stage.trace.next_step("end")
        stage.loop.set_exception_handler(lambda loop, context: None)
        for task in stage.tasks:
            task.cancel()
        for _ in range(3):
            stage.do_run("loop", "forever", [])
        stage.loop.run_until_complete(stage.loop.shutdown_default_executor())
        stage.loop.close()
