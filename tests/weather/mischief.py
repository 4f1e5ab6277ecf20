"""Objects that act when nobody expects it: as they are dropped, compared, printed, measured, and looked into.

What is done then is drawn from one seed for each run: callbacks are scheduled and cancelled, connections written to and
closed, garbage is collected, other threads run. Whoever is in the middle of a change when that happens must not be hurt.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

VARIABLE: contextvars.ContextVar[object] = contextvars.ContextVar("VARIABLE")
DEEPEST = 3  # mischief within mischief
MAX_ACTS = 1500  # then all is quiet, so that a run ends


def take_one(items: list[T], chance: random.Random) -> T | None:
    """Any of the items, taken out; None if there is none, or another's mischief takes it at the same moment."""
    try:
        return items.pop(chance.randrange(len(items)))
    except (IndexError, ValueError):
        return None


class Mischief:
    """One run: what was scheduled and what became of it, and what can be meddled with."""

    def __init__(self, seed: int, loop: asyncio.AbstractEventLoop) -> None:
        self.random = random.Random(seed)
        self.loop = loop
        self.owner = threading.get_ident()
        self.depth = 0
        self.acts = 0
        self.over = False
        self.scheduled = 0
        self.became: dict[int, str] = {}  # of each callback: "waits", "ran" or "cancelled"
        self.held: list[tuple[int, Any]] = []  # handles that somebody still refers to
        self.wrong: list[str] = []
        self.more: list[Callable[[], object]] = []  # what else a scenario has to offer
        self._numbers = itertools.count(1)  # a lock could not be taken again by what comes while it is held

    def say(self, what: str) -> None:
        """Note what must not be."""
        if what not in self.wrong:
            self.wrong.append(what)

    def chance(self, share: float) -> bool:
        """True that often."""
        return self.random.random() < share

    def act(self) -> None:
        """Do something, unless enough is going on."""
        if self.over or self.acts >= MAX_ACTS or self.depth >= DEEPEST:
            return
        self.depth += 1
        self.acts += 1
        try:
            if threading.get_ident() != self.owner:
                self.schedule_from_thread()  # the one thing that another thread may do
                return
            choices: list[Callable[[], object]] = [self.schedule, self.cancel, gc.collect, self.let_go, *self.more]
            self.random.choice(choices)()
        except RuntimeError as exc:
            if "is closed" not in str(exc):
                self.say(f"mischief met {exc!r}")
        finally:
            self.depth -= 1

    def let_go(self) -> None:
        """Let other threads run."""
        time.sleep(0)

    # Callbacks

    def _number(self) -> int:
        number = next(self._numbers)
        self.became[number] = "waits"
        self.scheduled = len(self.became)
        return number

    def ran(self, number: int, trap: Trap) -> None:
        """A callback: each one once, and with its own arguments."""
        if trap.number != number:
            self.say(f"callback {number} was called with the arguments of {trap.number}")
        if self.became[number] == "ran":  # cancelled is not too late to run, where it was taken up a moment before
            self.say("a callback ran twice")
        self.became[number] = "ran"
        if self.chance(0.2):
            self.act()
        if self.chance(0.05):
            raise TrapError(self)

    def schedule(self) -> None:
        """By one of the ways there are."""
        number = self._number()
        trap = Trap(self, number)
        call = Called(self) if self.chance(0.3) else self.ran
        context = None
        if self.chance(0.3):
            context = contextvars.copy_context()
            context.run(VARIABLE.set, Trap(self))
        way = self.random.randrange(4)
        handle: Any
        if way == 0:
            handle = self.loop.call_soon(call, number, trap, context=context)
        elif way == 1:
            handle = self.loop.call_later(self.random.random() * 0.002, call, number, trap, context=context)
        elif way == 2:
            handle = self.loop.call_at(self.loop.time(), call, number, trap, context=context)
        else:
            handle = self.loop.call_soon_threadsafe(call, number, trap, context=context)
        if self.chance(0.4):
            self.held.append((number, handle))

    def schedule_from_thread(self) -> None:
        """From another thread than the loop's."""
        number = self._number()
        try:
            self.loop.call_soon_threadsafe(self.ran, number, Trap(self, number))
        except RuntimeError:  # the loop is closed
            self.became[number] = "cancelled"

    def cancel(self) -> None:
        """One of those that somebody refers to, whatever has become of it."""
        held = take_one(self.held, self.random)
        if held is not None:
            number, handle = held
            if self.became[number] == "waits":
                self.became[number] = "cancelled"
            if self.chance(0.2):
                repr(handle)
            handle.cancel()

    def waiting(self) -> list[int]:
        """The callbacks that have neither run nor been cancelled."""
        return [number for number, state in list(self.became.items()) if state == "waits"]


class Trap:
    """Does mischief whenever it is touched."""

    def __init__(self, mischief: Mischief, number: int = 0) -> None:
        self.mischief = mischief
        self.number = number
        if mischief.random.random() < 0.3:
            self.itself = self  # only the collector finds it

    def __del__(self) -> None:
        self.mischief.act()

    def __repr__(self) -> str:
        self.mischief.act()
        return "Trap()"

    def __eq__(self, other: object) -> bool:
        self.mischief.act()
        return self is other

    def __hash__(self) -> int:
        self.mischief.act()
        return id(self)

    def __bool__(self) -> bool:
        self.mischief.act()
        return True

    def __len__(self) -> int:
        self.mischief.act()
        return 1


class Called(Trap):
    """A callback that is an object of its own."""

    def __call__(self, number: int, trap: Trap) -> None:
        self.mischief.ran(number, trap)


class TrapError(Exception):
    """An exception whose text and end do mischief."""

    def __init__(self, mischief: Mischief) -> None:
        super().__init__(mischief)
        self.mischief = mischief

    def __str__(self) -> str:
        self.mischief.act()
        return "mischief"

    def __repr__(self) -> str:
        self.mischief.act()
        return "TrapError()"

    def __eq__(self, other: object) -> bool:
        self.mischief.act()
        return self is other

    def __hash__(self) -> int:
        self.mischief.act()
        return id(self)

    def __del__(self) -> None:
        self.mischief.act()


class Address(tuple[str, int]):
    """A socket address that does mischief when it is compared, printed and measured."""

    mischief: Mischief

    def __len__(self) -> int:
        self.mischief.act()
        return tuple.__len__(self)

    def __repr__(self) -> str:
        self.mischief.act()
        return tuple.__repr__(self)

    def __eq__(self, other: object) -> bool:
        self.mischief.act()
        return tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        self.mischief.act()
        return tuple.__ne__(self, other)

    def __hash__(self) -> int:
        return tuple.__hash__(self)

    def __del__(self) -> None:
        self.mischief.act()


class Buffer(bytearray):
    """Memory that does mischief when it is looked into (from Python 3.12 on), measured, compared, printed and dropped."""

    mischief: Mischief

    __hash__ = None  # as a bytearray's

    def __eq__(self, other: object) -> bool:
        self.mischief.act()
        return bytearray.__eq__(self, other)

    def __repr__(self) -> str:
        self.mischief.act()
        return bytearray.__repr__(self)

    def __len__(self) -> int:
        self.mischief.act()
        return bytearray.__len__(self)

    def __del__(self) -> None:
        self.mischief.act()

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags: int) -> memoryview:
            self.mischief.act()
            return super().__buffer__(flags)


def buffer(mischief: Mischief, data: bytes) -> Buffer:
    """A Buffer with that in it."""
    made = Buffer(data)
    made.mischief = mischief
    return made


def address(mischief: Mischief, host: str, port: int) -> Address:
    """An Address."""
    made = Address((host, port))
    made.mischief = mischief
    return made
