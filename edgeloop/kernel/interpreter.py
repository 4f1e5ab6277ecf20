"""The calls of the interpreter, for the pure edition: what compiled code does in C, interpreter.pyx, Python does itself."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from threading import get_ident
from typing import Any

FREELIST_LIMIT = 0  # here the reference counts can't be known
this_thread = get_ident
copy_context = contextvars.copy_context
take_last = list.pop
call_none = contextvars.Context.run
call_one = contextvars.Context.run


def run(handle: Any, context: contextvars.Context, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Call in the given context, and tell ``handle.report`` what it raises.

    SystemExit and KeyboardInterrupt are raised.
    """
    try:
        context.run(callback, *args)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        handle.report(exc)
    finally:
        # A traceback that a task keeps of its exception refers to this frame: it must not lead back to the task.
        del handle, callback, args


def call_method(context: contextvars.Context, owner: Any, name: str, argument: Any) -> Any:
    """Call the method of that name in the given context, with one argument."""
    return context.run(getattr(owner, name), argument)


def construct(cls: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """``cls(*args, **keywords)``."""
    return cls(*args, **keywords)


def empty(items: list[Any]) -> None:
    """Empty a list of nothing but None."""
    items.clear()


def drop_first(items: list[Any], count: int) -> None:
    """Take so many items from the front of a list."""
    del items[:count]


def attributes_on_demand(owner: Any) -> None:
    """Nothing to do here: the interpreter does so by itself."""


def swap_out(items: list[Any], place: int) -> Any:
    """What the list has in this place, where it has None from now on."""
    item = items[place]
    items[place] = None
    return item


def swap_in(items: list[Any], place: int, item: Any) -> None:
    """Put the item into this place of the list, where there is None."""
    items[place] = item


def type_version(owner: Any) -> int:
    """A number that the object's class has until it, or a class it inherits from, is changed; 0: not known, as here."""
    return 0


def has_dict(owner: Any) -> bool:
    """Whether the object may have attributes of its own."""
    return True


def has_own(owner: Any, name: str) -> bool:
    """Whether somebody has set this attribute on the object itself."""
    return name in owner.__dict__


def is_this_thread(thread_id: int | None) -> bool:
    """Whether ``thread_id``, as ``threading.get_ident`` gives it, is the calling thread's."""
    return thread_id == get_ident()


def unshared(thing: object) -> bool:
    """Whether nothing but the caller's variable refers to ``thing``: never known here."""
    return False


def check_signals() -> None:
    """Nothing to do here: the interpreter runs signal handlers between any two of its instructions."""
