"""The programs and commands on a project's page in docs/projects, so that its recipe runs what a reader copies.

Copied, as ``edgeloop_compat_pages``, into the environments the recipes' own tests run in.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

#: The page that the recipe names.
PAGE = Path(os.environ.get("EDGELOOP_COMPAT_PAGE", os.devnull))


def program(name: str) -> str:
    """The program on the page whose first line is ``# name``. LookupError if there isn't one, or not only one."""
    return _only(name, re.findall(rf"^```python\n(# {re.escape(name)}\n.*?)^```$", PAGE.read_text(), re.S | re.M))


def command(start: str) -> list[str]:
    """The command on the page, a block of its own, that starts with ``start``. LookupError as for a program."""
    return shlex.split(
        _only(start, re.findall(rf"^```sh\n({re.escape(start)}.*?)\n```$", PAGE.read_text(), re.S | re.M))
    )


def _only(name: str, found: list[str]) -> str:
    if len(found) != 1:
        raise LookupError(f"{name} is {len(found)} times on {PAGE}")
    return found[0]
