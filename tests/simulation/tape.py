"""The choices of one run, as numbers: drawn from a seed and recorded, or played from a list, which can be made shorter.

0 is always the quietest choice, and what a list gives when it is over.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence


class Tape:
    """A source of choices."""

    def __init__(self, seed: int = 0, recorded: Sequence[int] | None = None) -> None:
        self._random = random.Random(seed).random
        self._recorded = recorded
        self.values: list[int] = []

    def below(self, limit: int) -> int:
        """A number from 0 up to, but without, ``limit``."""
        recorded = self._recorded
        if recorded is None:
            value = int(self._random() * limit)
        else:
            place = len(self.values)
            value = recorded[place] % limit if place < len(recorded) else 0
        self.values.append(value)
        return value


def _without_zeros(values: list[int]) -> list[int]:
    end = len(values)
    while end and not values[end - 1]:
        end -= 1
    return values[:end]


def shortest(values: Sequence[int], fails: Callable[[Sequence[int]], bool], attempts: int = 1000) -> list[int]:
    """Return a tape that still fails and from which nothing can be left out: a shorter one, with smaller numbers."""
    best = _without_zeros(list(values))
    tried = 0

    def better(candidate: list[int]) -> bool:
        nonlocal best, tried
        candidate = _without_zeros(candidate)
        if tried >= attempts or (len(candidate), candidate) >= (len(best), best):
            return False
        tried += 1
        if fails(candidate):
            best = candidate
            return True
        return False

    size = max(1, len(best) // 2)
    improved = True
    while tried < attempts and (size > 1 or improved):
        improved = False
        place = 0
        while place < len(best):
            if better(best[:place] + best[place + size :]) or better(
                best[:place] + [0] * min(size, len(best) - place) + best[place + size :]
            ):
                improved = True
            else:
                place += size
        if size > 1:
            size //= 2
            improved = True
            continue
        for place in range(len(best)):
            for smaller in (best[place] // 2, best[place] - 1) if place < len(best) and best[place] else ():
                if better([*best[:place], smaller, *best[place + 1 :]]):
                    improved = True
                    break
    return best
