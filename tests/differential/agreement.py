"""Whether the loops agree on a program, and what to say if they don't."""

from __future__ import annotations

import collections
import importlib.util
import json
import math
import time
from typing import Any

from uvloop_differences import rule_of
from worker_processes import Worker

#: How often a program is played again, each time more patiently, before a difference counts: a busy machine delivers late.
PATIENCE = (0, 1, 3, 3, 3)


class Differential:
    """The workers of a session, and what was counted in it. ``command`` plays the same programs again."""

    def __init__(self, command: str = "") -> None:
        self.command = command
        self.loops = [("asyncio", False), ("edgeloop", False), ("edgeloop", True)]
        if importlib.util.find_spec("uvloop") is not None:
            self.loops.append(("uvloop", False))
        self.end = math.inf  # on the monotonic clock: what is checked later is not played
        self.workers: list[Worker] = []
        self.programs: collections.Counter[str] = collections.Counter()
        self.of_uvloop: collections.Counter[str] = collections.Counter()
        self.examples_of_uvloop: dict[str, Any] = {}

    def start(self) -> None:
        """Start the workers that are not up."""
        while len(self.workers) < len(self.loops):
            self.workers.append(Worker(*self.loops[len(self.workers)]))

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.close()
        self.workers.clear()

    def summary(self) -> str:
        """How many programs were played, and where uvloop differed."""
        lines = [f"{count} programs of {kind}" for kind, count in self.programs.items()]
        lines += [f"uvloop differs in {count}: {rule}" for rule, count in self.of_uvloop.most_common()]
        return "\n" + "\n".join(lines)

    def traces(self, program: dict[str, Any]) -> dict[str, Any]:
        """What each loop did; a worker that died makes this raise, and all are started anew for the next program."""
        self.start()
        try:
            for worker in self.workers:
                worker.ask(program)
            return {worker.name: worker.answer() for worker in self.workers}
        except BaseException:
            self.close()
            raise

    def check(self, program: dict[str, Any]) -> None:
        """Fail if edgeloop does anything else than asyncio's loop.

        With threads in it, a program may come out in two ways on each loop: right is what asyncio's loop has done once.
        """
        if time.monotonic() > self.end:
            return
        self.programs[program["kind"]] += 1
        right = []
        for patience in PATIENCE:
            traces = self.traces({**program, "patience": patience})
            right.append(traces["asyncio"])
            ours = {name: trace for name, trace in traces.items() if name.startswith("edgeloop")}
            wrong = [name for name, trace in ours.items() if trace not in right]
            if not wrong:
                if traces.get("uvloop", traces["asyncio"]) != traces["asyncio"]:
                    self._count(program, traces)
                return
        self.end = math.inf  # Hypothesis plays it again
        again = f"\n    these programs again: {self.command}" if self.command else ""
        raise AssertionError(described(program, traces, wrong) + again)

    def _count(self, program: dict[str, Any], traces: dict[str, Any]) -> None:
        # uvloop alone differs: nobody waits for it to agree.
        step, asyncio_did, uvloop_did = first_difference(traces["asyncio"], traces["uvloop"])
        rule = rule_of(step, asyncio_did, uvloop_did)
        self.of_uvloop[rule] += 1
        self.examples_of_uvloop.setdefault(rule, (program, step, asyncio_did, uvloop_did))


def first_difference(one: list[Any], other: list[Any]) -> tuple[Any, Any, Any]:
    """The first step in which two traces differ, and what is not the same in it."""
    for mine, yours in zip(one, other, strict=False):
        if mine != yours:
            actors = sorted({who for who in (*mine, *yours) if mine.get(who) != yours.get(who)})
            return mine.get("step"), {who: mine.get(who) for who in actors}, {who: yours.get(who) for who in actors}
    return "the number of steps", len(one), len(other)


def described(program: dict[str, Any], traces: dict[str, Any], wrong: list[str]) -> str:
    """For the message of a test that fails."""
    lines = ["", "the program: " + json.dumps(program)]
    for name in wrong:
        step, asyncio_did, edgeloop_did = first_difference(traces["asyncio"], traces[name])
        lines += [f"in the step {step}", f"    asyncio:   {asyncio_did}", f"    {name}:  {edgeloop_did}"]
    if "uvloop" in traces:
        agreeing = [name for name, trace in traces.items() if name != "uvloop" and trace == traces["uvloop"]]
        lines.append(f"    uvloop agrees with {agreeing or 'none'}")
    return "\n".join(lines)
