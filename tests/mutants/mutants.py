"""Breaks a module in one place at a time, and says which of the broken ones its tests let pass.

``python mutants.py [--sample N] [--seed S] [--timeout SECONDS] [MODULE ...]``: the mutants are cosmic-ray's, which changes
the files of the folder that this runs in: a copy of the tree. The pure edition runs, since it needs no build.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import WorkerOutcome, WorkResult

SESSIONS = Path("build/mutants")

#: Each module's own tests: those that a change of it would be tried with first.
TESTS = {
    "kernel": "kernel/test_poller kernel/test_kernel_arguments loop/test_loop_threads transports/test_short_reads"
    " transports/test_pipe_short_reads transports/test_pipe_blocking loop/test_sock_stream loop/test_given_sockets"
    " transports/test_datagram_edges",
    "core/schedule": "core loop/test_loop_callbacks loop/test_loop_timers loop/test_loop_turns loop/test_loop_run"
    " loop/test_loop_threads",
    "core/reactor": "core loop/test_loop_readers loop/test_loop_turns loop/test_loop_refused_descriptors",
    "serving/listener": "serving",
    "transports/stream": "transports/test_stream_close transports/test_stream_flow transports/test_stream_protocol"
    " transports/test_stream_write transports/test_short_reads transports/test_stream_reentry"
    " transports/test_when_bytes_leave",
}


def paths(module: str) -> list[str]:
    """Return the files and folders of a module's tests."""
    return [
        path if Path(path).is_dir() else f"{path}.py" for path in (f"tests/{name}" for name in TESTS[module].split())
    ]


#: Where a mutant changes no behaviour: annotations, which nothing evaluates, imports of types, and messages.
UNREAD = re.compile(r'^\s*(def |async def |from |import |@|"|\w+: [\w.\[\], |]+$|if TYPE_CHECKING)')


def configure(module: str, timeout: float) -> Path:
    """Write cosmic-ray's configuration and its list of mutants. Return the session."""
    name = module.replace("/", "-")
    SESSIONS.mkdir(parents=True, exist_ok=True)
    path = f"edgeloop/{module}" if Path("edgeloop", module).is_dir() else f"edgeloop/{module}.py"
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {' '.join(paths(module))}"
    configuration = SESSIONS / f"{name}.toml"
    configuration.write_text(
        f"[cosmic-ray]\nmodule-path = {json.dumps(path)}\ntimeout = {timeout}\nexcluded-modules = []\n"
        f"test-command = {json.dumps(command)}\n[cosmic-ray.distributor]\nname = 'local'\n"
    )
    session = SESSIONS / f"{name}.sqlite"
    subprocess.run(
        [sys.executable, "-m", "cosmic_ray.cli", "init", "--force", str(configuration), str(session)], check=True
    )
    return session


def choose(session: Path, sample: int, seed: int) -> int:
    """Skip all mutants but the sample. Return how many there are of which a test could know."""
    with use_db(session) as database:
        pending = sorted(database.pending_work_items, key=lambda item: str(item.mutations))
        worth = []
        for item in pending:
            mutation = item.mutations[0]
            line = mutation.module_path.read_text().splitlines()[mutation.start_pos[0] - 1]
            if not UNREAD.match(line):
                worth.append(item)
        chosen = {item.job_id for item in random.Random(seed).sample(worth, min(sample or len(worth), len(worth)))}
        for item in pending:
            if item.job_id not in chosen:
                database.set_result(item.job_id, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
    return len(worth)


def report(module: str, session: Path, worth: int) -> int:
    """Print what share is killed, and the survivors. Return how many there are."""
    with use_db(session) as database:
        results = [
            result for _, result in database.completed_work_items if result.worker_outcome != WorkerOutcome.SKIPPED
        ]
    survivors = [result for result in results if not result.is_killed]
    print(
        f"\n{module}: {len(results) - len(survivors)} of {len(results)} mutants killed, a sample of {worth}", flush=True
    )
    for survivor in survivors:
        print(survivor.diff)
    return len(survivors)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", choices=[*TESTS, []], nargs="*", default=[])
    parser.add_argument("--sample", type=int, default=50, help="mutants of each module; 0: all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--timeout", type=float, default=120.0, help="seconds, after which a mutant is taken for killed"
    )
    options = parser.parse_args()
    os.environ["EDGELOOP_PURE"] = "1"
    os.environ["PYTHONPATH"] = os.getcwd()
    for module in options.modules or TESTS:
        session = configure(module, options.timeout)
        worth = choose(session, options.sample, options.seed)
        configuration = session.with_suffix(".toml")
        subprocess.run([sys.executable, "-m", "cosmic_ray.cli", "exec", str(configuration), str(session)], check=True)
        report(module, session, worth)


if __name__ == "__main__":
    main()
