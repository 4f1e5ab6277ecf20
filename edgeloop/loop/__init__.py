"""The event loop: EventLoop, and one module for each part of AbstractEventLoop."""

from __future__ import annotations

from .event_loop import EventLoop

__all__ = ["EventLoop"]
