"""``python bare_fuzz.py MODULE CLASS``: everything that Python can ask of an object that was made without its initialiser.

Each attribute is read, set to what it can't be and deleted; each method is called with nothing and with what it can't take,
before and after. Whatever that raises is right. Only the end of the process is not.
"""

from __future__ import annotations

import faulthandler
import importlib
import itertools
import sys
from typing import Any

WRONG: tuple[Any, ...] = (None, -1, 1 << 70, "text", b"bytes", (), [None], {}, 1.5, object(), print)
# What ends or stops the process by right, and what waits for what never comes.
LEFT_OUT = {"run_forever", "run_until_complete", "__reduce_ex__", "__reduce__", "__class__", "__init_subclass__"}


def attempt(call: Any, *args: Any) -> None:
    try:
        result = call(*args)
        if hasattr(result, "close") and hasattr(result, "cr_frame"):
            result.close()
    except Exception:
        pass


def use(thing: Any, name: str) -> None:
    attempt(getattr, thing, name)
    try:
        method = getattr(thing, name)
    except Exception:
        return
    if not callable(method):
        return
    attempt(method)
    for count in (1, 2, 3):
        for wrong in WRONG:
            attempt(method, *[wrong] * count)
    for pair in itertools.product(WRONG[:6], repeat=2):
        attempt(method, *pair)
    attempt(method, thing)
    attempt(method, thing, thing)


def fuzz(cls: Any) -> None:
    names = [name for name in dir(cls) if name not in LEFT_OUT]
    for name in names:
        use(cls.__new__(cls), name)
    # All on one object, which each call leaves in whatever state.
    thing = cls.__new__(cls)
    for name in names:
        use(thing, name)
    for name in names:
        if name.startswith("__"):
            continue
        for wrong in WRONG:
            thing = cls.__new__(cls)
            attempt(setattr, thing, name, wrong)
            for other in names:
                try:
                    method = getattr(thing, other)
                except Exception:
                    continue
                if callable(method) and not other.startswith("__"):
                    attempt(method)
        attempt(delattr, cls.__new__(cls), name)
    attempt(repr, cls.__new__(cls))
    attempt(hash, cls.__new__(cls))
    attempt(lambda: cls.__new__(cls) == cls.__new__(cls))
    attempt(lambda: cls.__new__(cls) < cls.__new__(cls))
    attempt(cls)
    for wrong in WRONG:
        for count in (1, 2, 3, 4, 5):
            attempt(cls, *[wrong] * count)


if __name__ == "__main__":
    faulthandler.enable()
    module, name = sys.argv[1:]
    fuzz(getattr(importlib.import_module(module), name))
