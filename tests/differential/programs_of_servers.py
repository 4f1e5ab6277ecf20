"""Random programs for play_servers."""

from __future__ import annotations

import sys

from hypothesis import strategies as st
from programs_of_transports import action

WHICH = st.integers(0, 3)
WAITS = ["start_serving", "start_serving", "wait_closed", "wait_closed", "serve_forever", "context"]
CALLS = ["close", "close", "is_serving", "get_loop", "no_such"] + (
    ["close_clients", "abort_clients"] if sys.version_info >= (3, 13) else []
)
STEPS = st.one_of(
    action("wait", st.sampled_from(WAITS)),
    action("call", st.sampled_from(CALLS)),
    action("cancel", WHICH),
    st.sampled_from([["state"], ["connect"], ["connect"], ["connect"]]),
    action("send", WHICH),
    action("client_close", WHICH),
    action("transport", WHICH, st.sampled_from(["close", "abort", "pause_reading", "is_closing"])),
    action("socket", st.sampled_from(["getsockname", "fileno", "gettimeout", "accept", "close", "dup"])),
    action("second", st.sampled_from(["same", "both", "neither", "datagram", "ssl", "timeout", "port"])),
)
SERVERS = st.fixed_dictionaries(
    {
        "kind": st.just("servers"),
        "family": st.sampled_from(["ipv4", "both", "unix", "sock"]),
        "start_serving": st.booleans(),
        "keeps_open": st.booleans(),
        "debug": st.booleans(),
        "steps": st.lists(
            st.one_of(STEPS, STEPS, action("together", st.lists(STEPS, min_size=2, max_size=4))),
            min_size=1,
            max_size=10,
        ),
    }
)
