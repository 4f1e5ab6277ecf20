"""The programs and commands on docs/switching-on.md and other pages, so that the tests run what a reader copies."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from repository import ROOT

PAGE = ROOT / "docs" / "switching-on.md"
TESTING = ROOT / "docs" / "testing.md"
needs_policies = pytest.mark.skipif(sys.version_info >= (3, 16), reason="this Python has no event loop policies")


def program(name: str, page: Path = PAGE) -> str:
    """The program on the page whose first line is ``# name``."""
    found = re.findall(rf"^```python\n(# {re.escape(name)}\n.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"{name} is {len(found)} times on the page"
    return str(found[0])


def command(start: str, page: Path = PAGE) -> list[str]:
    """The command on the page that starts with ``start``, its port replaced by one of the kernel's choice."""
    found = re.findall(rf"^```sh\n({re.escape(start)}.*)\n```$", page.read_text(), re.MULTILINE)
    assert len(found) == 1, f"{start} is {len(found)} times on the page"
    return shlex.split(found[0].replace("8080", "0"))
