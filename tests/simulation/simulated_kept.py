"""The shortest tapes of all faults that the campaign has found in edgeloop. Each was wrong once, and must not be again.

A tape is bound to what the scenes draw: when these change it may play something else, so each fault has a test on the real
kernel besides.
"""

from __future__ import annotations

TAPES: dict[str, list[int]] = {}
