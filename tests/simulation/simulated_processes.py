"""The campaign in processes of its own: edgeloop is on the real kernel in the one that runs the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CAMPAIGN = Path(__file__).with_name("simulated_campaign.py")


def start(*arguments: object, program: Path = CAMPAIGN) -> subprocess.Popen[str]:
    """Start a campaign with these arguments, or another program of this folder."""
    command = [sys.executable, str(program), *map(str, arguments)]
    environment = os.environ | {"EDGELOOP_PURE": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def answer(process: subprocess.Popen[str]) -> Any:
    """What a campaign says at its end."""
    output, _ = process.communicate()
    lines = output.splitlines()
    assert lines, f"the campaign has ended with status {process.returncode}"
    return json.loads(lines[-1])


def campaign(*arguments: object) -> Any:
    """Run a campaign. Return what it says."""
    with start(*arguments) as process:
        return answer(process)


def signals(*arguments: object) -> Any:
    """Run simulated_signals.py. Return what it says."""
    with start(*arguments, program=CAMPAIGN.with_name("simulated_signals.py")) as process:
        return answer(process)


def complaint(result: dict[str, Any]) -> str:
    """What to tell of a campaign in which something was wrong; empty if nothing was."""
    wrong = result.get("wrong")
    if not wrong:
        return ""
    tape = ",".join(map(str, wrong["tape"]))
    return (
        f"seed {wrong['seed']}: {wrong['failures'][0]}\n"
        f"replay: pytest tests/simulation --seed={wrong['seed']}\n"
        f"the shortest tape: python tests/simulation/simulated_campaign.py --tape {tape}"
    )
