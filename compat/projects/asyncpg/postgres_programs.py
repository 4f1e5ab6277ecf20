"""A plugin of asyncpg's own suite, which makes clusters itself: tells it where PostgreSQL's programs are."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from services.postgres_server import programs

#: asyncpg ends its clusters when the interpreter ends, after pytest has: so long they have to be there.
FOLDER = tempfile.TemporaryDirectory(prefix="postgresql-programs-")


def pytest_configure(config: pytest.Config) -> None:
    folder = Path(FOLDER.name)
    folder.chmod(0o755)
    os.environ["PGINSTALLATION"] = str(programs(folder))
