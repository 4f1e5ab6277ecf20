"""What the standard loop does in the same harness: every outcome it ever had here, test by test.

Kept between runs in the user's cache folder, one file for each suite, interpreter and state of the harness, so that a
test that the control fails, or only sometimes passes, on this machine is known from the control's own results.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .outcome import Outcome


def cache() -> Path:
    """The folder for what is kept between runs: ``$XDG_CACHE_HOME/edgeloop``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeloop"


def kept_in(suite: str, decides: Iterable[Path]) -> Path:
    """The file for ``suite`` on this interpreter, as long as the files that ``decides`` names stay as they are."""
    digest = hashlib.sha256(f"{sys.version} {sys.executable}".encode())
    for path in decides:
        digest.update(path.read_bytes())
    version = ".".join(map(str, sys.version_info[:3]))
    return cache() / f"compat-{suite}" / f"{version}-{digest.hexdigest()[:12]}.json"


class Control:
    """The control's results: for each test a count of its outcomes, the last reason, and how long it took."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, Counter[str]] = {}
        self.reasons: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        if path.exists():
            for test, kept in json.loads(path.read_text()).items():
                self.outcomes[test] = Counter(kept["outcomes"])
                self.reasons[test] = kept["reason"]
                self.seconds[test] = kept["seconds"]

    def add(self, results: dict[str, Outcome]) -> None:
        for test, outcome in results.items():
            self.outcomes.setdefault(test, Counter())[outcome.outcome] += 1
            self.seconds[test] = outcome.seconds
            if outcome.outcome != "passed":
                self.reasons[test] = outcome.reason
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(f".{os.getpid()}")
        kept = {
            test: {"outcomes": counts, "reason": self.reasons.get(test, ""), "seconds": self.seconds[test]}
            for test, counts in sorted(self.outcomes.items())
        }
        fresh.write_text(json.dumps(kept, indent=1))
        fresh.replace(self.path)

    def knows(self, test: str) -> bool:
        return test in self.outcomes

    def passes(self, test: str) -> bool:
        """Whether the standard loop passed this test each time it was run here."""
        return set(self.outcomes.get(test, ())) == {"passed"}

    def verdict(self, test: str) -> str:
        """``passed``, the one other outcome, or ``flaky: passed 3, failed 1``."""
        counts = self.outcomes[test]
        if len(counts) == 1:
            return next(iter(counts))
        return "flaky: " + ", ".join(f"{outcome} {count}" for outcome, count in counts.most_common())
