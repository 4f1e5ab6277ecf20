"""What a fork does to the reactors of the process (rule 11). This registers the handlers of os.register_at_fork.

They run in the thread that calls os.fork, the second one in the child, where there is no other thread. The only system calls
are the writes of ``Reactor.push``. The first use of a loop in the child does the rest: ``Reactor._take_over``.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

reactors: weakref.WeakSet[Any] = weakref.WeakSet()
"""All reactors of the process; each adds itself when it is made."""


def _before_fork() -> None:
    # Bytes that are gathered would be in both processes. Neither may lose them, nor both send them.
    for reactor in list(reactors):
        reactor.push()


def _after_fork_in_child() -> None:
    for reactor in list(reactors):
        reactor.after_fork()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
