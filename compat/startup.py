"""Makes a loop the default one of an interpreter, from its first moment on, whatever program it then runs.

The environments that ``python -m compat`` makes import this module when their interpreter starts (a ``.pth`` file in
site-packages names it), so it takes effect in the children of a test too. ``EDGELOOP_COMPAT_LOOP`` in the environment
says which loop:

- not set, or empty: nothing is touched.
- ``asyncio``, the control: nothing is replaced; the loops that are made are counted.
- ``edgeloop``, ``uvloop`` or ``MODULE:FACTORY``: every way in which a program obtains "the" loop leads there.

What is replaced, by Python version: ``new_event_loop`` in ``asyncio`` and ``asyncio.events``; the loop factory of the
default policy's class (policies are deprecated since 3.14 and end with 3.16); and ``asyncio.SelectorEventLoop`` and
``asyncio.EventLoop``, by a stand-in, since servers name those when they are told to use "asyncio". The class itself
stays where it is defined, so what derives from it or asks ``asyncio.selector_events`` for it gets the standard one.

https://docs.python.org/3/library/asyncio-policy.html, https://docs.python.org/3/library/site.html
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events
import importlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

_FACTORIES = {"edgeloop": "edgeloop:new_event_loop", "uvloop": "uvloop:new_event_loop"}

ENVIRONMENT = "EDGELOOP_COMPAT_LOOP"

#: How many loops of each class this process has made.
made: Counter[str] = Counter()
#: Where loops of the standard library were made in spite of the swap: ``file:line``, with a count.
strays: Counter[str] = Counter()


def find(name: str) -> LoopFactory:
    """The factory called ``name``: ``asyncio``, ``edgeloop``, ``uvloop`` or ``MODULE:FACTORY``.

    Raises ImportError or AttributeError for a loop that isn't there.
    """
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    module, _, factory = _FACTORIES.get(name, name).partition(":")
    if not factory:
        raise ImportError(f"{name!r} is neither a known loop nor MODULE:FACTORY")
    found: LoopFactory = getattr(importlib.import_module(module), factory)
    return found


def loop_class(factory: LoopFactory) -> type:
    """The class of the loops that ``factory`` makes; TypeError if they are no ``asyncio.AbstractEventLoop``."""
    loop = factory()
    try:
        if not isinstance(loop, asyncio.AbstractEventLoop):
            raise TypeError(f"{factory!r} made {loop!r}, which is not an asyncio.AbstractEventLoop")
        return type(loop)
    finally:
        loop.close()


def stand_in(factory: LoopFactory, cls: type) -> type:
    """What a program gets instead of ``asyncio.SelectorEventLoop``: called, it makes the loop under test.

    It ignores a selector, knows the loop as its instance, and can be subclassed where the loop's class can.
    """

    class Meta(type(cls)):  # type: ignore[misc]  # the metaclass is only known here
        def __call__(cls_, *args: Any, **kwargs: Any) -> Any:
            if cls_ is SelectorEventLoop:
                return factory()
            return super().__call__(*args, **kwargs)

        def __instancecheck__(cls_, instance: object) -> bool:
            if cls_ is SelectorEventLoop:
                return isinstance(instance, cls)
            return bool(super().__instancecheck__(instance))

    # The name of the class it stands for: pytest builds a test's name from that where the class is a parameter.
    name = asyncio.unix_events._UnixSelectorEventLoop.__name__
    SelectorEventLoop: type
    try:
        SelectorEventLoop = Meta(name, (cls,), {"__module__": cls.__module__})
    except TypeError:  # a type that its extension module did not open for subclasses
        SelectorEventLoop = Meta(name, (asyncio.AbstractEventLoop,), {})
    return SelectorEventLoop


def replace(
    factory: LoopFactory, replacement: type, names: tuple[str, ...] = ("SelectorEventLoop", "EventLoop")
) -> None:
    """Lead every public way to a default loop to ``factory``, and the classes called ``names`` to ``replacement``."""
    for name in names:
        for module in (asyncio, asyncio.unix_events):
            if hasattr(module, name):
                setattr(module, name, replacement)
    policy = getattr(asyncio.unix_events, "_UnixDefaultEventLoopPolicy", None)
    if policy is not None:
        policy._loop_factory = staticmethod(factory)
    else:
        asyncio.new_event_loop = asyncio.events.new_event_loop = factory


def _count(cls: type, wanted: type) -> None:
    """Count what is made of ``cls`` and the classes derived from it, and note who made one that isn't ``wanted``."""
    init = cls.__init__  # type: ignore[misc]  # of a class that is looked at, not called

    def counted(self: Any, *args: Any, **kwargs: Any) -> None:
        made[f"{type(self).__module__}.{type(self).__qualname__}"] += 1
        if not isinstance(self, wanted):
            frame = sys._getframe(1)
            while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("asyncio"):
                frame = frame.f_back
            strays[f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"] += 1
        init(self, *args, **kwargs)

    cls.__init__ = counted  # type: ignore[misc]


def take_over(name: str) -> None:
    """Make the loop called ``name`` the default one. RuntimeError if a way to a loop still leads elsewhere."""
    factory = find(name)
    cls = loop_class(factory)
    _count(asyncio.base_events.BaseEventLoop, cls)
    if not issubclass(cls, asyncio.base_events.BaseEventLoop):
        _count(cls, cls)
    if name == "asyncio":
        return
    replace(factory, stand_in(factory, cls))
    for way in (asyncio.new_event_loop, asyncio.events.new_event_loop, asyncio.SelectorEventLoop):
        loop = way()
        loop.close()
        if type(loop) is not cls:
            raise RuntimeError(f"{way!r} should make {cls!r}, and made {loop!r}")
    made.clear()
    strays.clear()


if os.environ.get(ENVIRONMENT) and __name__ == "edgeloop_compat_startup":
    take_over(os.environ[ENVIRONMENT])
