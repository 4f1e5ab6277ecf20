"""Forks of this process, and what is known of its children."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable


def no_children_left() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) is None
    except ChildProcessError:
        return True


def forked(child: Callable[[], object]) -> None:
    """Run ``child`` in a fork; AssertionError if it raised."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.alarm(30)
            child()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
