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
    "a number was refused that the owner of a pipe had closed": (
        "1,0,1,5,1,1,0,5,0,18,34,0,1,0,0,0,0,0,0,0,0,0,0,0,0,10,0,0,0,0,0,21,0,7,0,0,0,0,0,0,0,0,2,12"
    ),
    "a connection that was cancelled as it came about was closed while it was registered": (
        "0,0,0,0,0,2,7,10,11,0,0,0,5,1,0,1,0,1,1,0,34,0,7,29,2"
    ),
    "the eventfd of a forked child had the number of a socket that was closed": "0,0,0,0,0,1,10,9,0,1,1,1,0,0,1,1,23,7",
    "a forked child took the eventfd of a set that it had given up for a socket that was closed": (
        "1,0,1,4,0,1,1,9,1,0,4,0,0,7,0,1,0,0,1,2,0,5,0,25,0,7,0,3,4,0,0,7,0,0,9,7,0,0,32,7,0,4,0,7"
    ),
    "a connection that ended as it began left what its connect had registered in a forked child's set": (
        "0,0,0,0,0,2,3,3,0,0,0,0,0,0,0,0,1,0,0,16,32,7"
    ),
    "a turn that went on with an interrupted one read two buffers of a connection": (
        "0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,4,2,32"
    ),
    "a transport that closed never ended after its resume_writing was interrupted": (
        "0,0,0,0,1,1,3,4,0,1,0,1,0,0,1,8,8,0,0,29,0,0,0,0,0,0,0,0,0,0,6,32"
    ),
}
