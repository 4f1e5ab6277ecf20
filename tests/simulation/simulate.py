"""``make simulate``: compare the simulated kernel with Linux, then play runs on it on all cores.

``python tests/simulation/simulate.py [--schedules 1000000] [--seed N] [--sequences 100000]``
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from simulated_processes import answer, complaint, start
from simulated_reached import shortfalls


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=1000000)
    parser.add_argument("--seed", type=int, help="of the first run; by default one that nobody has tried")
    parser.add_argument("--sequences", type=int, help="by default a tenth of the schedules")
    options = parser.parse_args()
    first = random.SystemRandom().randrange(1 << 48) if options.seed is None else options.seed
    sequences = options.schedules // 10 if options.sequences is None else options.sequences
    agreement = Path(__file__).with_name("kernel_agreement.py")
    if subprocess.run([sys.executable, str(agreement), "--sequences", str(sequences), "--seed", str(first)]).returncode:
        return 1
    cores = len(os.sched_getaffinity(0))
    share = -(-options.schedules // cores)
    print(f"{options.schedules} runs from seed {first} on, in {cores} processes")
    began = time.monotonic()
    results = [
        answer(process)
        for process in [
            start("--schedules", min(share, options.schedules - core * share), "--seed", first + core * share)
            for core in range(cores)
            if core * share < options.schedules
        ]
    ]
    took = time.monotonic() - began
    played = sum(result["schedules"] for result in results)
    rates = ", ".join(f"{result['a second of CPU time']}" for result in results)
    print(f"{played} runs in {took:.0f} s: {played / took:.0f} a second; of CPU time in each process: {rates}")
    found = [complaint(result) for result in results if complaint(result)]
    found += [] if found else shortfalls(results)
    print("\n".join(found) or "nothing was wrong")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
