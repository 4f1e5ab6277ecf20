"""A program of examples/ as a module, for tests that look inside."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from example_process import EXAMPLES


def example_module(script: str) -> Any:
    """Import it under a name of its own; nothing of it runs that stands behind its ``if __name__``."""
    name = f"example_of_{script.removesuffix('.py')}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / script)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
