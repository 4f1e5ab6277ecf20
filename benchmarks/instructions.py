"""``python -m benchmarks.instructions``: how many instructions one piece of work takes, counted by valgrind's callgrind.

A count hardly depends on the machine or on what else it does, so it can be held against the one that is on record in
instructions.json. Each scenario is run twice, for two lengths; the difference is what the work takes, without start and end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scenarios import SCENARIOS

SHORT, LONG = 1000, 3000
RECORD = Path(__file__).with_name("instructions.json")
PYTHON = "{}.{}.{}".format(*sys.version_info[:3])


def count(scenario: str, python: str = sys.executable, lengths: tuple[int, int] = (SHORT, LONG)) -> int:
    """Instructions for one more piece of ``scenario``. RuntimeError if there is no valgrind, or the program fails."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise RuntimeError("valgrind is not installed")
    short, long = (_collected(valgrind, python, scenario, length) for length in lengths)
    return round((long - short) / (lengths[1] - lengths[0]))


def _collected(valgrind: str, python: str, scenario: str, length: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                valgrind,
                "--tool=callgrind",
                f"--callgrind-out-file={folder}/out",
                python,
                "-m",
                "benchmarks.scenarios",
                scenario,
                str(length),
            ],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
        )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"{scenario}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return int(found[1])


def on_record(edition: str) -> dict[str, int]:
    """The counts that were kept for this Python and edition; none where there are none."""
    if not RECORD.exists():
        return {}
    kept: dict[str, dict[str, int]] = json.loads(RECORD.read_text())
    return kept.get(f"{PYTHON} {edition}", {})


def keep(edition: str, counts: dict[str, int]) -> None:
    """Put the counts on record."""
    kept = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    kept[f"{PYTHON} {edition}"] = counts
    RECORD.write_text(json.dumps(kept, indent=4, sort_keys=True) + "\n")


def slower(counts: dict[str, int], kept: dict[str, int], tolerance: float) -> list[str]:
    """The scenarios that take more than ``1 + tolerance`` times what is on record."""
    return [name for name, number in counts.items() if name in kept and number > kept[name] * (1 + tolerance)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 if a scenario takes more than is on record, and more than the tolerance."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[[], *SCENARIOS], metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--write", action="store_true", help="put the counts on record")
    parser.add_argument("--tolerance", type=float, default=0.15, help="how much more is let pass (default: 0.15)")
    options = parser.parse_args(arguments)
    from edgeloop import EDITION

    kept = on_record(EDITION)
    print(f"CPython {PYTHON}, {EDITION} edition: instructions for each")
    counts = {}
    for name in options.what or SCENARIOS:
        counts[name] = count(name)
        was = f"{kept[name]:>10,}  {counts[name] / kept[name] - 1:+.1%}" if name in kept else ""
        print(f"  {name:<10} {counts[name]:>10,} {was}  {SCENARIOS[name].__doc__}", flush=True)
    if options.write:
        keep(EDITION, kept | counts)
        return 0
    worse = slower(counts, kept, options.tolerance)
    if worse:
        print(f"more than {options.tolerance:.0%} above what is on record: {', '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
