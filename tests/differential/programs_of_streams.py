"""Random programs for play_streams."""

from __future__ import annotations

from hypothesis import strategies as st
from programs_of_transports import action

TEXTS = st.sampled_from(["", "a", "\n", "line\n", "one\ntwo\n", "no end", "a\r\nb\r\n", "x" * 50, "x" * 50 + "\n"])
COUNTS = st.sampled_from([0, 1, 3, 5, 10, 100, 5000, -1])
CALLS = st.one_of(
    action("call", "read", COUNTS),
    action("call", "readexactly", COUNTS),
    action("call", "readuntil", st.sampled_from(["\n", "\r\n", "x", "two", ""])),
    st.sampled_from([["call", "readline"], ["call", "readline"], ["call", "iterate"], ["call", "read"]]),
    st.sampled_from([["call", "drain"], ["call", "drain"], ["call", "wait_closed"], ["call", "readuntil"]]),
    action("cancel", st.integers(0, 5)),
)
WRITES = st.one_of(
    action("write", st.sampled_from([0, 1, 100, 20000])),
    action("write", st.just(1_000_000)),
    action("writelines", st.lists(st.sampled_from([0, 1, 100, 5000]), max_size=4)),
    st.sampled_from([["now", "writer", "close"], ["now", "writer", "write_eof"], ["now", "writer", "write", "text"]]),
)
STATES = st.one_of(
    st.sampled_from([["state"], ["now", "reader", "at_eof"], ["now", "writer", "get_extra_info", "nonsense"]]),
    st.sampled_from([["now", "reader", "feed_eof"], ["now", "reader", "no_such"], ["now", "writer", "no_such"]]),
    action("feed", TEXTS),
)
SET_EXCEPTION = action("set_exception", st.sampled_from(["ValueError", "OSError"]))  # not together: see docs/streams.md
PEER = st.one_of(
    action("peer_write", TEXTS, st.sampled_from([1, 1, 1, 2, 50])),
    action("peer_write", TEXTS, st.sampled_from([1, 1, 1, 2, 50])),
    st.sampled_from([["peer_half_close"], ["peer_close"], ["peer_reset"], ["peer_read"]]),
)
STEPS = st.one_of(
    CALLS,
    CALLS,
    WRITES,
    STATES,
    PEER,
    PEER,
    SET_EXCEPTION,
    action("together", st.lists(st.one_of(CALLS, WRITES, STATES, PEER), min_size=2, max_size=5)),
)
STREAMS = st.fixed_dictionaries(
    {
        "kind": st.just("streams"),
        "own": st.booleans(),
        "side": st.sampled_from(["client", "pair", "server", "server that fails", "server that is cancelled"]),
        "limit": st.sampled_from([None, None, 1, 10, 60, 1000]),
        "debug": st.sampled_from([False, False, True]),
        "steps": st.lists(STEPS, min_size=1, max_size=10),
    }
)
