"""Runs of edgeloop's pure edition on a simulated kernel, as many as are asked for.

``python tests/simulation/simulated_campaign.py --schedules 20000 --seed 7``; ``--replay SEED`` plays one run and prints its
trace, ``--tape 1,2,3`` plays a tape. ``--breaks`` breaks each rule and counts the runs until that is noticed, ``--digests``
prints the hash of each trace. The last line is JSON. The status is 1 if something was wrong.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import simulated_modules  # noqa: E402
from simulated_coverage import Coverage  # noqa: E402
from tape import Tape, shortest  # noqa: E402

#: Whose lines a campaign must have run.
COVERED = ("kernel/*.py", "core/*.py", "transports/stream*.py", "transports/flow.py", "transports/base.py")

#: Runs in which branches are noted too. They take three times as long.
BRANCH_RUNS = 300


class Campaign:
    """Plays runs, one after the other, in this process."""

    def __init__(self, branch_runs: int = BRANCH_RUNS) -> None:
        edgeloop = simulated_modules.load()
        self.branch_runs = branch_runs
        self.new_loop: Callable[[], Any] = edgeloop.new_event_loop
        self.seen: Counter[str] = Counter()
        logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
        warnings.simplefilter("ignore")
        import simulated_run
        import simulated_scenes
        import simulated_servers
        import simulated_services

        self._Run = simulated_run.Run
        self._scenes: Sequence[Callable[[Any], None]] = (
            *simulated_scenes.SCENES,
            *simulated_services.SCENES,
            *simulated_servers.SCENES,
        )
        simulated_run.watch_channels()
        self.coverage = Coverage({str(path) for pattern in COVERED for path in (ROOT / "edgeloop").glob(pattern)})
        self.played = 0
        gc.collect()
        gc.freeze()
        gc.disable()  # or a run's trace would depend on what ran before

    def play(self, tape: Tape, log: list[str] | None = None) -> tuple[list[str], int]:
        """Play one run. Return what was wrong, and the hash of its trace."""
        run = self._Run(tape, self.seen, log)
        run.kernel.weather = run.faults
        run.play(self.new_loop, self._scenes)
        failures, digest = list(run.failures), run.kernel.digest & (2**64 - 1)
        self.played += 1
        if self.played == self.branch_runs:
            self.coverage.ignore_branches()
        if failures or not self.played % 200:
            del run
            gc.collect()  # what it has left open belongs to its kernel
        return failures, digest

    def search(self, seeds: range, seconds: float) -> dict[str, Any]:
        """Play a run for each seed, until one is wrong or the time is over. Return that one."""
        end = time.monotonic() + seconds
        for seed in seeds:
            tape = Tape(seed)
            failures, _ = self.play(tape)
            if failures:
                return {"seed": seed, "failures": failures, "tape": tape.values}
            if time.monotonic() > end:
                break
        return {}

    def shrink(self, found: dict[str, Any]) -> None:
        """Replace the tape of a run that was wrong by the shortest that is wrong in the same way."""
        kind = found["failures"][0][:20]

        def fails(values: Sequence[int]) -> bool:
            failures, _ = self.play(Tape(recorded=values))
            return bool(failures) and failures[0][:20] == kind

        found["length before"] = len(found["tape"])
        found["tape"] = shortest(found["tape"], fails)
        found["failures"] = self.play(Tape(recorded=found["tape"]))[0]

    def break_rules(self, first: int, limit: int) -> dict[str, Any]:
        """Break each rule. Return after how many runs that was noticed, and how; None if it was not."""
        from simulated_breaks import BREAKS, broken

        noticed: dict[str, Any] = {}
        for name in BREAKS:
            before = self.played
            with broken(name):
                found = self.search(range(first, first + limit), 1e9)
                noticed[name] = {"runs": self.played - before, "how": found["failures"][0]} if found else None
        return noticed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after that time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--branches", type=int, default=BRANCH_RUNS, help="runs in which branches are noted")
    parser.add_argument("--replay", type=int)
    parser.add_argument("--tape")
    parser.add_argument("--breaks", action="store_true")
    parser.add_argument("--digests", action="store_true")
    options = parser.parse_args(arguments)
    campaign = Campaign(options.branches)
    seeds = range(options.seed, options.seed + options.schedules)
    if options.replay is not None or options.tape is not None:
        log: list[str] = []
        recorded = None if options.tape is None else [int(value) for value in options.tape.split(",") if value]
        failures, digest = campaign.play(Tape(options.replay or 0, recorded), log)
        print("\n".join(log))
        print(json.dumps({"failures": failures, "digest": digest}))
        return bool(failures)
    if options.digests:
        print(json.dumps([campaign.play(Tape(seed))[1] for seed in seeds]))
        return 0
    if options.breaks:
        noticed = campaign.break_rules(options.seed, options.schedules)
        print(json.dumps(noticed))
        return None in noticed.values()
    campaign.coverage.start()
    began = time.monotonic(), time.process_time()
    found = campaign.search(seeds, options.seconds)
    took = time.monotonic() - began[0], time.process_time() - began[1]
    reached, missing = campaign.coverage.split()
    result: dict[str, Any] = {
        "schedules": campaign.played,
        "a second": round(campaign.played / took[0]),
        "a second of CPU time": round(campaign.played / took[1]),
        "seen": campaign.seen,
        "reached": reached,
        "missing": missing,
    }
    if found:
        campaign.shrink(found)
        result["wrong"] = found
    print(json.dumps(result))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
