"""A list that stands for one of the loop's, where memory is short."""

from __future__ import annotations

from typing import Any


class Full(list[Any]):
    """A list that finds no memory for another item, once."""

    full = True

    def append(self, item: Any) -> None:
        if self.full:
            self.full = False
            raise MemoryError
        super().append(item)
