"""A plugin for anyio's suite (``-p machine``): what the suite takes for granted of the machine, and of the loop.

- "localhost" has an IPv4 and an IPv6 address. Where /etc/hosts doesn't say so, libnss_wrapper reads ``hosts`` instead; with it
  test_getaddrinfo_ipv6addr and test_bind_link_local fail on any loop, and a hundred others have their ::1.
- blockbuster, with which the suite looks for calls that block the loop, lets asyncio wait for a child to be started. It
  knows that by the file it happens in (``("asyncio/base_events.py", {"subprocess_exec"})``), so it is told the name of
  edgeloop's.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

known = [line.partition("#")[0].split() for line in Path("/etc/hosts").read_text().splitlines()]
if not any(words[0] == "::1" and "localhost" in words[1:] for words in known if words):
    os.environ["NSS_WRAPPER_HOSTS"] = str(Path(__file__).with_name("hosts"))


@pytest.fixture(autouse=True)
def starting_a_child_may_block(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("blockbuster").functions["os.read"].can_block_in(
        "edgeloop/loop/subprocesses.py", {"_subprocess"}
    )
