"""What the compiled edition does by the interpreter's C API, here in Python. interpreter.pyx and .pxd are that edition.

The functions that a callback's turn goes through: call it in its context, use its Handle again, detect a method that was
replaced. They make no system call. Any thread that holds the GIL may call them. What they call may run any Python, and
so may dropping a reference: ``unshared``, ``swap_in``, ``swap_out``, ``take_only`` and ``type_version`` run none.
"""

from __future__ import annotations

import contextvars
import operator
from collections.abc import Callable
from threading import get_ident
from typing import Any

FREELIST_LIMIT = 0  # no handle is used again, because ``unshared`` can't be known
this_thread = get_ident
copy_context = contextvars.copy_context
# Remove the only item of a list, and return it: the first, since a signal handler may have appended another meanwhile.
take_only = operator.methodcaller("pop", 0)
call_none = contextvars.Context.run
call_one = contextvars.Context.run


def run(handle: Any, context: contextvars.Context, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Call in the given context, and pass what it raises to ``handle.report``.

    Raise SystemExit and KeyboardInterrupt.
    """
    try:
        # Most callbacks need no memory to be called, which the call with a ``*`` does, and takes longer for.
        count = len(args)
        if not count:
            context.run(callback)
        elif count == 1:
            context.run(callback, args[0])
        elif count == 2:
            context.run(callback, args[0], args[1])
        else:
            context.run(callback, *args)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        handle.report(exc)
    finally:
        # A task may keep its exception, whose traceback keeps this frame. The frame must not keep the task.
        del handle, callback, args


def call_method(context: contextvars.Context, owner: Any, name: str, argument: Any) -> Any:
    """Call the method of that name in the given context, with one argument."""
    return context.run(getattr(owner, name), argument)


def construct(cls: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Return ``cls(*args, **keywords)``."""
    return cls(*args, **keywords)


def to_bytes(data: Any) -> bytes:
    """Return a copy of what a buffer holds. Its owner may change its size again when this returns, on PyPy too."""
    with memoryview(data) as view:
        return bytes(view)


def empty(items: list[Any]) -> None:
    """Clear a list whose items are all None. Compiled, it keeps its memory."""
    items.clear()


def drop_first(items: list[Any], count: int) -> None:
    """Remove the first ``count`` items of a list."""
    del items[:count]


def attributes_on_demand(owner: Any) -> None:
    """Do nothing: the interpreter makes the ``__dict__`` of an instance when it is needed."""


def swap_out(items: list[Any], place: int) -> Any:
    """Replace the item in this place by None, and return it."""
    item = items[place]
    items[place] = None
    return item


def swap_in(items: list[Any], place: int, item: Any) -> None:
    """Replace None in this place of the list by the item."""
    items[place] = item


def type_version(owner: Any) -> int:
    """Return a number that changes with the object's class and the bases of that. 0 means that it is unknown, as here."""
    return 0


def watch_class(cls: type) -> None:
    """Have ``watched_version`` be this class's, for the module that calls it. At its import, once."""


def watched_version() -> int:
    """Return a number that changes with the watched class and its bases. 0 means that it is unknown, as here."""
    return 0


def is_changed(owner: Any, version: int, watched: int) -> bool:
    """Return True if one of the two versions is not this, or ``has_dict``: all three in one. Here they are unknown."""
    return True


def has_dict(owner: Any) -> bool:
    """Return True if the object may have attributes of its own."""
    return True


def has_own(owner: Any, name: str) -> bool:
    """Return True if this attribute is set on the object itself."""
    return name in owner.__dict__


def is_this_thread(thread_id: int | None) -> bool:
    """Return True if ``thread_id``, of ``threading.get_ident``, is that of the calling thread. None is no thread's."""
    return thread_id == get_ident()


def unshared(thing: object) -> bool:
    """Return True if the caller has the only reference to ``thing``. Here it is unknown: return False."""
    return False


def check_signals() -> None:
    """Do nothing: the interpreter runs signal handlers between its instructions."""
