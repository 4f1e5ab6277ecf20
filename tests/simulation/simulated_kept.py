"""The shortest tapes of the faults that the campaign has found in edgeloop. Each was wrong once, and must not be again.

A tape is bound to what the scenes draw: when these change it may play something else. So each fault has a test on the real
kernel besides.
"""

from __future__ import annotations

TAPES: dict[str, str] = {
    "a reader whose callback raised KeyboardInterrupt was not re-armed": (
        "0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,23"
    ),
    "disarming EPOLLOUT of a socket that its owner had closed ended the loop with EBADF": (
        "1,0,0,0,0,2,12,0,0,0,0,0,0,0,0,1,0,1,0,0,0,0,0,0,0,0,4,0,0,10,0,0,21"
    ),
}
