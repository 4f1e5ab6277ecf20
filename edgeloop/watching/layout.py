"""The numbers that a loop keeps, and their order in memory: one table for both editions and for the shared file.

Each is 8 bytes, a signed integer or a double of this machine. figures.pxd has the same in C. A reader takes no file of another
VERSION: whoever changes the table counts it up.

Times are in ticks (kernel/ticks.py). ``base_ticks``, ``base_ns`` and ``ns_per_tick`` turn them into nanoseconds of
CLOCK_MONOTONIC, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import struct
from typing import Any

MAGIC = 0x504F4F4C45474445  # "EDGELOOP", read as a little-endian number
VERSION = 2

#: Histograms have eight buckets for each power of two, in nanoseconds: a value is known to an eighth. The first is for all
#: below 64 ns, the last for all from 2**40 ns (18 minutes) on.
MIN_BITS = 6
MAX_BITS = 40
PARTS = 8
BUCKETS = (MAX_BITS - MIN_BITS) * PARTS + 2

TEXT_SIZE = 128

#: Kinds of channels, by ``Channel.kind``.
KINDS = ("other", "stream", "datagram", "read_pipe", "write_pipe", "listener", "watch")
OTHER, STREAM, DATAGRAM, READ_PIPE, WRITE_PIPE, LISTENER, WATCH = range(len(KINDS))

#: (name, count, is a double). What each means, stands in snapshot.py.
FIELDS: tuple[tuple[str, int, bool], ...] = (
    # Of the file
    ("magic", 1, False),
    ("version", 1, False),
    ("size", 1, False),
    ("pid", 1, False),
    ("process_started", 1, False),  # proc_pid_stat(5), field 22
    ("number", 1, False),  # of the loop, in its process
    ("made_at", 1, False),  # ticks
    ("closed", 1, False),
    # The clock
    ("by_counter", 1, False),
    ("base_ticks", 1, False),
    ("base_ns", 1, False),
    ("ns_per_tick", 1, True),
    # The heartbeat. The loop sleeps while slept_at > woken_at.
    ("thread", 1, False),  # gettid(2) of the thread that runs the loop, or 0
    ("turns", 1, False),
    ("slept_at", 1, False),  # ticks: when the last wait began that may sleep
    ("woken_at", 1, False),  # ticks: when it ended
    ("idle", 1, False),  # ticks in such waits
    ("running_since", 1, False),  # ticks; 0: it does not run
    ("ran", 1, False),  # ticks, of the runs that have ended
    ("refresh_at", 1, False),  # ticks: when the loop is to refresh what it does not count
    ("refreshed_at", 1, False),
    ("wanted_until", 1, False),  # ns of CLOCK_MONOTONIC: a reader of the file has this loop measure until then
    # Measured on demand
    ("measuring", 1, False),  # how many have asked for it
    ("began", 1, False),  # ticks: when the callback under way began, or the last one ended
    ("turn_began", 1, False),  # ticks
    ("waits_since", 1, False),  # ticks: since when what this turn found ready may have been
    # What was ready when the turn began
    ("ready", 1, False),
    ("timers_waiting", 1, False),
    # Counters
    ("waits", 1, False),
    ("events", 1, False),
    ("callbacks", 1, False),
    ("timers", 1, False),
    ("epoll_ctl", 1, False),
    ("recv", 1, False),
    ("send", 1, False),
    ("read", 1, False),
    ("write", 1, False),
    ("accept", 1, False),
    ("sendfile", 1, False),
    ("wake", 1, False),
    ("bytes_in", 1, False),
    ("bytes_out", 1, False),
    ("accepts", 1, False),
    ("accepts_refused", 1, False),
    ("accepts_failed", 1, False),
    ("connections_made", 1, False),
    ("connections_closed", 1, False),
    ("lost_end", 1, False),
    ("lost_reset", 1, False),
    ("lost_error", 1, False),
    ("lost_abort", 1, False),
    ("lost_timeout", 1, False),
    ("handshakes", 1, False),
    ("handshakes_failed", 1, False),
    # Gauges
    ("writing_paused", 1, False),
    ("channels", len(KINDS), False),
    ("children", 1, False),
    ("threads", 1, False),
    ("jobs_queued", 1, False),
    # The longest callback: a reader tries again if ``longest_writes`` is odd or has changed meanwhile.
    ("longest_writes", 1, False),
    ("longest_ns", 1, False),
    ("longest_text", TEXT_SIZE // 8, False),
    # Histograms. The sum and the largest value are in ticks.
    ("delay_sum", 1, False),
    ("delay_max", 1, False),
    ("delay", BUCKETS, False),
    ("turn_sum", 1, False),
    ("turn_max", 1, False),
    ("turn", BUCKETS, False),
    ("callback_sum", 1, False),
    ("callback_max", 1, False),
    ("callback", BUCKETS, False),
)

SIZE = 8 * sum(count for _, count, _ in FIELDS)
FORMAT = "=" + "".join(f"{count}{'d' if is_double else 'q'}" for _, count, is_double in FIELDS)
assert struct.calcsize(FORMAT) == SIZE


def _places() -> dict[str, int]:
    places, place = {}, 0
    for name, count, _ in FIELDS:
        places[name] = place
        place += count
    return places


PLACES = _places()
"""Of each number, its index in memory: of an array its first."""


def unpack(data: bytes) -> dict[str, Any]:
    """Return the numbers by name, arrays as tuples. Raises struct.error for data of another size."""
    values = struct.unpack(FORMAT, data)
    return {
        name: values[place] if count == 1 else values[place : place + count]
        for (name, count, _), place in zip(FIELDS, PLACES.values(), strict=True)
    }


def bucket(nanoseconds: int) -> int:
    """Return the index of the bucket that a value belongs to."""
    bits = nanoseconds.bit_length() - 1
    if bits < MIN_BITS or nanoseconds < 0:
        return 0
    if bits >= MAX_BITS:
        return BUCKETS - 1
    return (bits - MIN_BITS) * PARTS + (nanoseconds >> (bits - 3)) % PARTS + 1


def lower_bound(index: int) -> int:
    """Return the least value of a bucket, in nanoseconds."""
    if index == 0:
        return 0
    bits, part = divmod(index - 1, PARTS)
    return (PARTS + part) << (bits + MIN_BITS - 3)


def upper_bound(index: int) -> float:
    """Return the least value above a bucket, in nanoseconds; of the last, infinity."""
    return lower_bound(index + 1) if index < BUCKETS - 1 else float("inf")
