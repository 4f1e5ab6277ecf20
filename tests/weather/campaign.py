"""Fail-call-i: runs a scenario once for each of its system calls and each way in which that can fail.

``python campaign.py [--loop asyncio] [--every N] [--first K] [--limit SECONDS] SCENARIO [CALL VARIANT]``, with
failing_calls.so preloaded; ``--random N --seed S`` adds N runs in which many calls are interrupted, would block or come up
short. Each run is in a process of its own, forked from one that has imported everything, so that a crash
or a hang is that run's. Writes one line of JSON for each run; the last is the summary. The exit status says nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import broken_scenarios
import scenarios_of_files
import scenarios_of_streams
import scenarios_of_the_loop
from failing_calls import TRANSPARENT, FailingCalls, fault_name
from stage import Stage, complaints

Scenario = Callable[[Stage], None]

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for module in (scenarios_of_streams, scenarios_of_files, scenarios_of_the_loop, broken_scenarios)
    for scenario in module.SCENARIOS
}

#: A run that makes so many times the calls of the one without a fault goes round in circles.
BUSY = 20
MAX_EXTRA = 3000
PERMILLE = 250  # of the calls of a run at random


def loop_maker(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loops: asyncio's, edgeloop's, or such as do not do what they should."""
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if name == "broken":
        return broken_scenarios.broken_loop
    if name == "raising":
        return broken_scenarios.raising_loop
    import edgeloop

    return edgeloop.new_event_loop


def perform(
    scenario: Scenario,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    arm: Callable[[FailingCalls], None],
    usual: int,
    calls: FailingCalls | None = None,
) -> dict[str, Any]:
    """One run, in this process; what is wrong with it. ``usual``: how many calls it makes without a fault, 0 if unknown.

    ``calls``: what fails; None for the system calls.
    """
    calls = calls or FailingCalls()
    stage = Stage(new_loop, calls)
    text = ""
    gc.collect()
    with complaints(stage):
        arm(calls)
        try:
            scenario(stage)
            outcome = None
        except Exception as exc:
            outcome = exc
        made = calls.disarm()
        name, fault = calls.fired()
        stage.verdict(outcome, not fault or fault in TRANSPARENT)
        text = "" if outcome is None else repr(outcome)
        outcome = None
        stage.witnesses.clear()
    if usual and made > BUSY * usual + MAX_EXTRA:
        stage.wrong(f"made {made} system calls, {usual} without a fault: a busy loop")
    again = Stage(new_loop, calls)
    with complaints(again):
        try:
            scenarios_of_streams.small_echo(again)
        except Exception as exc:
            again.wrong(f"raised {exc!r}")
        again.verdict(None, True)
        again.witnesses.clear()
    wrong = stage.verdict(None, False) + [f"another loop afterwards: {what}" for what in again.verdict(None, True)]
    return {
        "call": name,
        "fault": fault_name(fault),
        "implausible": calls.was_implausible(),
        "calls": made,
        "failed": calls.failed_at_random(),
        "outcome": text,
        "reports": stage.reports,
        "wrong": wrong,
    }


def forked(run: Callable[[], dict[str, Any]], limit: float) -> dict[str, Any]:
    """What ``run`` returns in a forked child, or how that ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.dup2(writing, 2)
            faulthandler.enable()
            faulthandler.dump_traceback_later(limit)
            os.write(writing, json.dumps(run()).encode() + b"\n")
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(1)
    os.close(writing)
    said = b""
    deadline = time.monotonic() + limit + 2
    while ready := select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not (piece := os.read(reading, 65536)):
            break
        said += piece
    if not ready:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    lines = said.decode(errors="replace").splitlines()
    if ready and status == 0 and lines and lines[-1].startswith("{"):
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer | {"said": lines[:-1]}
    end = "hangs" if not ready else f"ends with status {os.waitstatus_to_exitcode(status)}"
    return {"wrong": [end], "said": lines}


def counted(scenario: Scenario, new_loop: Callable[[], asyncio.AbstractEventLoop], limit: float) -> dict[str, Any]:
    """The calls of a run without a fault, and in how many ways each can fail."""

    def run() -> dict[str, Any]:
        found = perform(scenario, new_loop, FailingCalls.arm, 0)
        calls = FailingCalls()
        found["trace"] = [[calls.call(number), calls.variants(number)] for number in range(1, found["calls"] + 1)]
        return found

    return forked(run, limit)


def plan(trace: list[list[Any]], every: int, first: int) -> list[tuple[int, int]]:
    """Which call fails, and in which of its ways: one of ``every`` of all there are, counted from ``first`` on."""
    pairs = [(number, variant) for number, call in enumerate(trace, 1) for variant in range(call[1])]
    return pairs[first % every :: every]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("number", type=int, nargs="?")
    parser.add_argument("variant", type=int, nargs="?", default=0)
    parser.add_argument("--loop", default="edgeloop")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=20.0)
    options = parser.parse_args(arguments)
    scenario = SCENARIOS[options.scenario]
    new_loop = loop_maker(options.loop)
    scenarios_of_streams.contexts()
    for played in {scenario, scenarios_of_streams.small_echo} - set(broken_scenarios.SCENARIOS):
        played(Stage(new_loop, FailingCalls()))  # or a module would be imported, and its file not be opened, in a run
    gc.collect()
    gc.freeze()  # what is imported is not looked through in each run
    base = counted(scenario, new_loop, options.limit)
    trace = base.pop("trace", [])
    print(json.dumps(base), flush=True)
    usual = len(trace)

    def run(arm: Callable[[FailingCalls], None]) -> dict[str, Any]:
        return forked(lambda: perform(scenario, new_loop, arm, usual), options.limit)

    one = options.number
    chosen = [(one, options.variant)] if one is not None else plan(trace, options.every, options.first)
    for number, variant in chosen:
        found = run(lambda calls, at=number, way=variant: calls.arm(at, way))  # type: ignore[misc]
        expected = trace[number - 1][0] if number <= usual else ""
        print(json.dumps(found | {"number": number, "variant": variant, "expected": expected}), flush=True)
    for seed in range(options.seed, options.seed + options.random):
        found = run(lambda calls, seed=seed: calls.arm_at_random(seed, PERMILLE))  # type: ignore[misc]
        print(json.dumps(found | {"seed": seed}), flush=True)
    print(json.dumps({"calls": usual, "runs": len(chosen), "kinds": sorted({call[0] for call in trace})}))


if __name__ == "__main__":
    main(sys.argv[1:])
