"""What is known of this process's children."""

from __future__ import annotations

import os


def no_children_left() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) is None
    except ChildProcessError:
        return True
