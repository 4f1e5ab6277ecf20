"""Alarms of a server, and the loop's delay, which some of them and ``Server.suspend_on_delay`` look at.

The delay is measured by a timer, every tenth of a second and only while somebody asks for it: how late it is called. That is
how long what arrives at the loop waits for its turn.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Callable
from typing import Any

from ..core.schedule import Scheduler
from .status import ServerStatus

MEASURE_SECONDS = 0.1

Callback = Callable[[ServerStatus], object]


def _check_seconds(name: str, value: Any, least: str) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if not math.isfinite(value) or value < 0 or (value == 0 and least == "over 0"):
        raise ValueError(f"{name} must be finite and {least}, got {value!r}")


class Alarm:
    """An alarm of a server. It ends with ``cancel``, or with the server."""

    def __init__(
        self, alarms: Alarms, callback: Callback, connections: int | None, delay: float | None, cooldown: float
    ) -> None:
        self._alarms = alarms
        self._callback = callback
        self._connections = connections
        self._delay = delay
        self._cooldown = cooldown
        self._context = contextvars.copy_context()
        self._silent_until = -math.inf

    def __repr__(self) -> str:
        what = f"delay={self._delay}" if self._connections is None else f"connections={self._connections}"
        return f"<Alarm {what} cooldown={self._cooldown}>"

    def cancel(self) -> None:
        """End it. A call that is scheduled already comes. Does nothing the second time."""
        self._alarms.remove(self)


class Alarms:
    """All alarms of one server, and the marks of the delay between which it is suspended. For the loop's thread alone."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._loop: Scheduler = server._loop
        self._alarms: list[Alarm] = []
        self._high: float | None = None  # seconds of delay at which the server is suspended
        self._low = 0.0  # and resumed
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when the timer is to be called
        self.delay: float | None = None  # the last that was measured

    def add(self, callback: Callback, connections: int | None, delay: float | None, cooldown: float) -> Alarm:
        """``Server.add_alarm``."""
        if not callable(callback):
            raise TypeError(f"a callable object was expected by add_alarm(), got {callback!r}")
        if (connections is None) == (delay is None):
            raise ValueError("add_alarm() needs either connections or delay")
        if connections is not None:
            if not isinstance(connections, int) or isinstance(connections, bool):
                raise TypeError(f"connections must be an int, got {connections!r}")
            if connections < 1:
                raise ValueError(f"connections must be at least 1, got {connections!r}")
        else:
            _check_seconds("delay", delay, "over 0")
        _check_seconds("cooldown", cooldown, "at least 0")
        alarm = Alarm(self, callback, connections, delay, cooldown)
        self._alarms.append(alarm)
        self._measure_if_wanted()
        return alarm

    def remove(self, alarm: Alarm) -> None:
        """``Alarm.cancel``."""
        if alarm in self._alarms:
            self._alarms.remove(alarm)
            self._measure_if_wanted()
            self._server._apply_limits()

    def threshold(self) -> int | None:
        """Return the least number of connections that an alarm is set for."""
        return min((alarm._connections for alarm in self._alarms if alarm._connections is not None), default=None)

    def count_reached(self, connections: int) -> None:
        """So many connections are open now, after an accept."""
        for alarm in tuple(self._alarms):
            if alarm._connections is not None and connections >= alarm._connections:
                self._sound(alarm)

    def _sound(self, alarm: Alarm) -> None:
        now = self._loop.time()
        if now < alarm._silent_until:
            return
        alarm._silent_until = now + alarm._cooldown
        # In a turn of its own: what it raises is reported, and it may close the server.
        self._loop.call_soon(alarm._callback, self._server.status(), context=alarm._context)

    # The loop's delay

    def set_marks(self, high: float | None, low: float | None) -> None:
        """``Server.suspend_on_delay``."""
        if high is None:
            if low is not None:
                raise ValueError(f"low={low!r} needs high")
        else:
            _check_seconds("high", high, "over 0")
            if low is None:
                low = high / 2
            _check_seconds("low", low, "at least 0")
            if low > high:
                raise ValueError(f"low ({low!r}) must be at most high ({high!r})")
        self._high, self._low = high, low or 0.0
        if high is None:
            self._server._resume("delay")
        self._measure_if_wanted()

    def _is_wanted(self) -> bool:
        return self._high is not None or any(alarm._delay is not None for alarm in self._alarms)

    def _measure_if_wanted(self) -> None:
        if not self._is_wanted():
            self.stop()
        elif self._timer is None and not self._server._is_closed():
            self._set_timer()

    def _set_timer(self) -> None:
        self._due = self._loop.time() + MEASURE_SECONDS
        self._timer = self._loop.call_at(self._due, self._measure)

    def stop(self) -> None:
        """Measure no more: the server is closed, or nobody asks."""
        timer, self._timer = self._timer, None
        self.delay = None
        if timer is not None:
            timer.cancel()

    def _measure(self) -> None:
        delay = self.delay = max(0.0, self._loop.time() - self._due)
        self._set_timer()
        for alarm in tuple(self._alarms):
            if alarm._delay is not None and delay >= alarm._delay:
                self._sound(alarm)
        if self._high is not None:
            if delay >= self._high:
                self._server._suspend("delay")
            elif delay <= self._low:
                self._server._resume("delay")
