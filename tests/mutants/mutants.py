"""Breaks a module in one place at a time, and says which of the broken ones its tests let pass.

``python mutants.py [--sample N] [--seed S] [--seconds S] [--minutes M] [MODULE ...]`` runs in a copy of the tree, whose
files it changes, and in the pure edition, which needs no build. One process collects the tests once and forks for each
mutant, which is then tried with the tests that reach its line: those first that have killed mutants of its function, then
those that TESTS names first. With --keep, results.json gets how many were killed, what survived, and which tests kill. Why a
survivor may live stands in reasons.py.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from changing import change_module, changed_file, compiled, functions_of_edgeloop
from forked_tests import Outcome, adopt_orphans, run_forked
from mutations import Mutant, mutants
from reaching import Reached, Recorder
from reasons import reason

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
MODULES = (
    "kernel/epoll kernel/calls kernel/short_reads kernel/sockets kernel/pulse kernel/pipes kernel/datagrams"
    " kernel/connection_socket core/channel core/gathering core/reactor core/scheduling core/schedule serving/listener"
    " transports/stream transports/stream_writing transports/flow"
).split()
#: What may kill a mutant of a package: folders and files of tests, those first that say most about it.
TESTS = {
    "kernel": "kernel/test_lost_events.py kernel/test_kinds_of_addresses.py kernel/test_poller.py kernel"
    " transports/test_counted_reads.py transports/test_short_reads.py transports/test_when_bytes_leave.py"
    " transports/test_sockets_that_others_own.py core loop transports",
    "core": "core/test_counted_turns.py core/test_next_turn.py core/test_pending_timers.py core/test_turns_per_event.py"
    " core/test_interrupted_turns.py core/test_interrupted_lists.py core/test_interrupted_leftovers.py"
    " core/test_credit_of_writes.py"
    " watching/test_measured_callbacks.py loop/test_replaced_methods.py watching/test_instruments.py"
    " core/test_threads_of_instruments.py core/test_forks_of_forks.py transports/test_transport_attributes.py"
    " loop/test_what_close_drops.py watching/test_figures.py core/test_order_of_callbacks.py"
    " transports/test_when_bytes_leave.py watching/test_replaced_handle_run.py core loop",
    "serving": "serving/test_suspending.py serving/test_max_connections.py serving/test_accept_order.py"
    " serving/test_server_status.py serving/test_server_descriptors.py serving",
    "transports": "transports/test_counted_reads.py watching/test_figures.py transports/test_when_bytes_leave.py"
    " transports/test_stream_flow.py transports/test_stream_write.py"
    " transports/test_stream_close.py transports/test_stream_protocol.py transports/test_ends_while_others_wait.py"
    " transports/test_aborted_in_a_send.py transports/test_writes_that_fail.py core/test_next_turn.py transports core loop"
    " watching/test_figures_of_traffic.py watching/test_figures_of_failures.py",
    "streams": "streams transports/test_stream_flow.py",
    "watching": "watching",
}
KILLED = ("failed", "hangs", "died")
OTHERS = 30  # tests that fork or start a program, and don't reach the line in this process, at most


class Campaign:
    """A pytest plugin: where the tests would run, the mutants do."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.end = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
        self.out = os.fdopen(os.dup(1), "w")  # pytest takes the other one
        self.reached = Reached(options.programs)
        before = options.keep if options.keep and options.keep.exists() else RESULTS
        self.results: dict[str, Any] = json.loads(before.read_text()) if before.exists() else {}
        self.items: dict[str, pytest.Item] = {}
        self.outcomes = Outcomes()
        self.random = random.Random(options.seed)
        self.suspects: Counter[str] = Counter()
        self.tried_again = 0

    def say(self, line: str) -> None:
        self.out.write(line + "\n")
        self.out.flush()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            self.say("tests can't be collected")
            return True
        self.items = {item.nodeid: item for item in session.items}
        adopt_orphans()
        self.functions = functions_of_edgeloop()
        self.follow_tests()
        failing = {name for name, test in self.reached.tests.items() if test["failed"]}
        self.order_of_all = self.reached.by_variety([name for name in self.items if name not in failing])
        for module in self.options.modules or MODULES:
            self.mutate(module)
        self.say(f"of {self.tried_again} failures that were tried again, these came but once: {dict(self.suspects)}")
        return True

    def follow_tests(self) -> None:
        """Run the tests of which nothing is known. One that fails without a mutant kills none."""
        unknown = [item for name, item in self.items.items() if name not in self.reached.tests]
        while unknown:
            self.say(f"{len(unknown)} tests say what they reach")
            recorder: list[Recorder] = []

            def around(item: pytest.Item, run: Any, recorder: list[Recorder] = recorder) -> dict[str, Any]:
                if not recorder:
                    recorder.append(Recorder(self.options.programs))
                report: dict[str, Any] = {"file": self.reached.file_of(item.nodeid)}
                with recorder[0].test(report):
                    run()
                return report

            def about(name: str, report: dict[str, Any], failed: bool) -> None:
                self.reached.tests[name] = {**report, "failed": failed}
                if len(self.reached.tests) % 200 == 0:
                    self.reached.save()
                if failed and not report["starts"]:
                    self.say(f"fails without a mutant: {name}")

            outcome = run_forked(unknown, lambda: None, lambda name: 1.5, around, about)
            if outcome.how != "passed":
                self.say(f"{outcome.how} without a mutant: {outcome.test}")
                self.reached.tests[outcome.test] = {
                    "file": self.reached.file_of(outcome.test), "lines": {}, "starts": False, "seconds": 0,
                    "processor": 0, "failed": True
                }  # fmt: skip
            self.reached.save()
            unknown = [item for item in unknown if item.nodeid not in self.reached.tests]

    def order(self, file: str, mutant: Mutant, kills: Counter[str]) -> tuple[list[str], int]:
        """Return the tests to try a mutant with, as many as fit in the time, and how many reach it."""
        lines = range(mutant.line, mutant.last_line + 1)
        reaching = [
            name
            for name in self.order_of_all
            if not mutant.function or self.reached.reaches(name, file, lines)  # others may import a constant
        ]
        telling = TESTS[file.partition("/")[0]].split()

        def rank(name: str) -> tuple[int, int]:
            places = (place for place, start in enumerate(telling) if name.startswith(f"tests/{start}"))
            return -kills[name], next(places, len(telling))

        reaching.sort(key=rank)
        found = set(reaching)
        others = [name for name in self.order_of_all if self.reached.starts_processes(name) and name not in found]
        others.sort(key=lambda name: (-kills[name], self.reached.cost(name)))
        chosen, left = [], self.options.seconds
        for name in (*reaching, *(others[:OTHERS] if reaching else others)):
            if left < 0:
                break
            left -= self.reached.cost(name) + 0.005
            chosen.append(name)
        return chosen, len(reaching)

    def mutate(self, module: str) -> None:
        path = Path("edgeloop", f"{module}.py")
        source = path.read_text()
        found = list(mutants(source))
        chosen = random.Random(self.options.seed).sample(found, len(found))  # what the time allows is a sample
        if self.options.only:
            chosen = [mutant for mutant in chosen if self.options.only in mutant.name]
        known = self.outcomes.of(module, source)
        if self.options.survivors:
            chosen = [
                mutant
                for mutant in chosen
                if known.get(mutant.name, {}).get("how") == "passed" and not reason(module, mutant.name)
            ]
        else:
            chosen = [mutant for mutant in chosen if mutant.name not in known]
        if self.options.sample:
            chosen = chosen[: self.options.sample]
        killers: dict[str, dict[str, int]] = self.results.get(module, {}).get("killers", {})
        end = min(self.end, time.monotonic() + (self.options.module_minutes * 60 or float("inf")))
        for mutant in chosen:
            if time.monotonic() > end:
                break
            kills = Counter(killers.get("", {}))
            for name, count in killers.get(mutant.function, {}).items():
                kills[name] += 100 * count
            outcome = self.try_mutant(path, source, mutant, kills)
            known[mutant.name] = {"how": outcome.how, "test": outcome.test}
            self.outcomes.save()
            if outcome.how in KILLED and outcome.test:
                for function in (mutant.function, ""):
                    of = killers.setdefault(function, {})
                    of[outcome.test] = of.get(outcome.test, 0) + 1
            if outcome.how != "failed" or self.options.verbose:
                self.say(f"{outcome.how} {outcome.seconds:.1f} s, {mutant.line}: {mutant.name} [{outcome.test}]")
        self.report(module, found, known, killers)

    def try_mutant(self, path: Path, source: str, mutant: Mutant, kills: Counter[str]) -> Outcome:
        names, reaching = self.order(str(path.relative_to("edgeloop")), mutant, kills)
        functions = self.functions.get(str(path.resolve()), {})
        compiled(path, source), compiled(path, mutant.source)  # here: the forks have them

        def prepare() -> bool:
            return change_module(path, source, mutant.source, functions, not mutant.function)

        start = time.monotonic()
        with changed_file(path, mutant.source):
            while names:
                outcome = run_forked([self.items[name] for name in names], prepare, self.reached.seconds)
                unsure = (
                    self.suspects[outcome.test]
                    or self.reached.seconds(outcome.test) > 0.5
                    or self.random.random() < 0.25
                    if outcome.test in self.items
                    else False
                )
                if outcome.how in ("failed", "died") and unsure:
                    self.tried_again += 1
                    again = run_forked([self.items[outcome.test]], prepare, self.reached.seconds)
                    if again.how == "passed":  # it fails now and then: what comes after it says more
                        self.suspects[outcome.test] += 1
                        names = names[names.index(outcome.test) + 1 :]
                        continue
                outcome.seconds = time.monotonic() - start
                if outcome.how == "passed":
                    outcome.test = f"{len(names)} tests, {reaching} reach it"
                return outcome
        return Outcome("passed", "no test reaches it" if not reaching else "unsure", time.monotonic() - start)

    def report(
        self, module: str, found: list[Mutant], known: dict[str, Any], killers: dict[str, dict[str, int]]
    ) -> None:
        hows = Counter(outcome["how"] for outcome in known.values())
        tried = sum(hows.values()) - hows["not changed"]
        survivors = [mutant for mutant in found if known.get(mutant.name, {}).get("how") == "passed"]
        self.say(f"\n{module}: {tried - hows['passed']} of {tried} mutants killed, of {len(found)}; {dict(hows)}")
        for mutant in survivors:
            self.say(f"  {mutant.line}: {mutant.name}  # {reason(module, mutant.name) or '?'}")
        if not self.options.keep:
            return
        self.results[module] = {
            "date": datetime.date.today().isoformat(),
            "mutants": len(found),
            "tried": tried,
            "killed": tried - hows["passed"],
            "hung": hows["hangs"],
            "survivors": [mutant.name for mutant in survivors],
            "killers": {
                function: dict(Counter(tests).most_common(3 if function else 20)) for function, tests in killers.items()
            },
        }
        self.options.keep.write_text(json.dumps(self.results, indent=1, sort_keys=True) + "\n")


class Outcomes:
    """What became of each mutant, in build/mutants: the next run goes on where this one ends, while the module is the same."""

    def __init__(self) -> None:
        self.path = Path("build/mutants/outcomes.json")
        self.modules: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}

    def of(self, module: str, source: str) -> dict[str, Any]:
        digest = hashlib.sha256(source.encode()).hexdigest()
        if self.modules.get(module, {}).get("source") != digest:
            self.modules[module] = {"source": digest, "outcomes": {}}
        outcomes: dict[str, Any] = self.modules[module]["outcomes"]
        return outcomes

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.modules))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="*", help=f"without: {' '.join(MODULES)}")
    parser.add_argument("--sample", type=int, default=50, help="mutants of each module; 0: all of them")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="of tests for each mutant, as long as they take without it"
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="after which it ends; 0: when all is done")
    parser.add_argument("--module-minutes", type=float, default=0.0, help="the same for each module")
    parser.add_argument("--only", default="", help="mutants in whose name this stands")
    parser.add_argument("--survivors", action="store_true", help="those that survived last time and have no reason")
    parser.add_argument("--programs", action="store_true", help="also tests that start programs, which takes longer")
    parser.add_argument("--keep", type=Path, help="the results.json to write")
    parser.add_argument("--tests", help="folders and files in tests, instead of those of the modules' packages")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    os.environ["EDGELOOP_PURE"] = "1"
    packages = {module.partition("/")[0] for module in options.modules or MODULES}
    names = (options.tests or " ".join(TESTS[package] for package in sorted(packages))).split()
    tests = sorted({f"tests/{name}" for name in names})
    plain = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:faulthandler"]
    sys.exit(pytest.main([*plain, *tests], plugins=[Campaign(options)]))


if __name__ == "__main__":
    main()
