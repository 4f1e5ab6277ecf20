"""What the campaign has found and what is not mended yet, each with the reason. To be emptied."""

from __future__ import annotations

import re
from dataclasses import dataclass

import edgeloop


@dataclass(frozen=True)
class Known:
    """A fault: where it shows, each field a regular expression, and why it is there."""

    scenario: str
    call: str
    fault: str
    wrong: str
    reason: str

    def covers(self, scenario: str, call: str, fault: str | None, wrong: str) -> bool:
        """Whether this is it. A run that hung or crashed can't say which fault it had."""
        return bool(
            re.fullmatch(self.scenario, scenario)
            and re.fullmatch(self.call, call)
            and (fault is None or re.fullmatch(self.fault, fault))
            and re.search(self.wrong, wrong)
        )


EITHER_EDITION = (
    Known(
        ".*",
        r"pipe2|epoll_ctl\(ADD\)",
        "EMFILE|ENFILE|ENOMEM|ENOSPC",
        "close a running event loop|while another loop is running|never awaited|descriptors leaked: .*eventpoll",
        "a loop whose first run finds no descriptor counts as running for ever: _run_forever_setup in loop.py",
    ),
    Known(
        "tcp_echo|tls_echo|end_of_stream|accept|streams",
        r"listen|setsockopt|epoll_ctl\(ADD\)",
        ".*",
        "unclosed <socket.socket _, family=2, type=1",
        "create_server does not close what it has bound when it can't serve: _serve in servers.py",
    ),
    Known(
        "reentry of readers",
        ".*",
        ".*",
        "FileNotFoundError|must be read-write bytes-like object, not Buffer",  # the second hides the first, raised within
        "Reactor.remove empties the channel's place before it takes the descriptor out of the set: a registration that is "
        "made between the two is taken out instead",
    ),
)

#: Whatever a handle does that was handed out half empty: it covers all that can go wrong, and goes with that fault.
COMPILED_EDITION = (
    Known("reentry of .*", ".*", ".*", ".*", "HandleSource._keep publishes a spare handle before it is empty"),
)

KNOWN: tuple[Known, ...] = EITHER_EDITION + (COMPILED_EDITION if edgeloop.EDITION == "compiled" else ())
