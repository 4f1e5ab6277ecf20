"""The stack and the tasks of another process, by the tools that this machine has.

- Its stack: ``py-spy dump``, if py-spy is installed.
- Its tasks: ``python -m asyncio pstree``, from Python 3.14 on, for a process that runs the same version.

Both read the other process's memory, which the kernel allows root, and with ptrace_scope 0 (Yama) the same user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

SECONDS = 10.0  # how long a tool may take


def stack_of(pid: int) -> str:
    """Return the Python stack of a process, or why there is none."""
    tool = shutil.which("py-spy", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))
    if tool is None:
        return "Stacks are printed by py-spy, which is not installed: pip install py-spy"
    return _output_of([tool, "dump", "--pid", str(pid)])


def tasks_of(pid: int) -> str:
    """Return the tasks of a process, and who awaits whom, or why there are none."""
    if sys.version_info < (3, 14):
        return "Tasks are printed by `python -m asyncio pstree`, which Python has from 3.14 on; this is " + ".".join(
            map(str, sys.version_info[:2])
        )
    return _output_of([sys.executable, "-m", "asyncio", "pstree", str(pid)])


def _output_of(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"{' '.join(command)}: {exc}"
    return (done.stdout + done.stderr).strip() or f"{' '.join(command)} printed nothing"
