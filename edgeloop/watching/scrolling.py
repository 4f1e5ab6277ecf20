"""Which lines of a long text or table a screen shows, and the keys that move them."""

from __future__ import annotations


class Window:
    """The part of some lines that the screen has room for. It shows as many as there is room for, if there are so many."""

    def __init__(self) -> None:
        self._first = 0

    def move(self, key: str, height: int) -> bool:
        """Do what a key means, on a screen with room for ``height`` lines. Return False if it is none that moves."""
        if key == "home":
            self._first = 0
            return True
        steps = {"k": -1, "j": 1, "page up": -height, "page down": height, "end": 2**31}
        self._first += steps.get(key, 0)
        return key in steps

    def shown(self, size: int, height: int) -> range:
        """Return which of ``size`` lines are shown."""
        self._first = max(min(self._first, size - height), 0)
        return range(self._first, min(self._first + height, size))

    def around(self, place: int, size: int, height: int) -> range:
        """Return which of ``size`` lines are shown, with the line ``place`` among them."""
        self._first = min(max(self._first, place - height + 1), place)
        return self.shown(size, height)
