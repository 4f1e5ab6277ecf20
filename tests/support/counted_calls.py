"""How often a program calls the C library's functions of sockets, counted by a preloaded library: counted_calls.c."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path


def counted_calls(script: str, *arguments: str, directory: Path) -> Counter[str]:
    """Run a Python program and return the number of calls by name; ``send`` is no ``sendto`` here, as it is for strace."""
    library, counts = directory / "counted_calls.so", directory / "counts"
    if not library.exists():
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env={**os.environ, "LD_PRELOAD": str(library), "COUNTED_CALLS": str(counts)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Counter({name: int(count) for name, count in (line.split() for line in counts.read_text().splitlines())})
