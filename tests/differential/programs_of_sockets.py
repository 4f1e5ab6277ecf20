"""Random programs for play_sockets."""

from __future__ import annotations

from hypothesis import strategies as st
from programs_of_transports import action

SIZES = st.sampled_from([0, 1, 5, 100, 4096, 20000])
STREAMS = st.sampled_from(["ours", "ours", "ours", "ours", "unconnected", "closed", "number", "text", "none"])
DATAGRAMS = st.sampled_from(["datagrams", "datagrams", "datagrams", "closed", "ours"])
CALLS = st.one_of(
    action("sock", "recv", STREAMS, st.one_of(SIZES, st.sampled_from([-1, "text", None]))),
    action("sock", "recv_into", STREAMS, st.one_of(SIZES, st.sampled_from(["text", None]))),
    action("sock", "sendall", STREAMS, st.one_of(SIZES, st.just(1_000_000), st.sampled_from(["text", None]))),
    action("sock", "accept", st.sampled_from(["listening", "listening", "unconnected", "closed", "none"])),
    action(
        "sock",
        "connect",
        st.sampled_from(["unconnected", "unconnected", "ours", "closed"]),
        st.sampled_from(["listening", "nobody", ["127.0.0.1"], None, ["127.0.0.1", "http"]]),
    ),
    action("sock", "recvfrom", DATAGRAMS, SIZES),
    action("sock", "recvfrom_into", DATAGRAMS, SIZES, st.sampled_from([0, 1, 100])),
    action("sock", "sendto", DATAGRAMS, SIZES, st.sampled_from(["other", "other", None, "text", ["127.0.0.1"]])),
    action(
        "sock",
        "sendfile",
        STREAMS,
        SIZES,
        st.sampled_from([0, 3, 1000, -1, "text"]),
        st.sampled_from([None, 1, 100, 0, -1]),
        st.booleans(),
    ),
    action("cancel", st.integers(0, 5)),
)
KINDS = st.sampled_from(["reader", "writer"])
WATCHED = st.sampled_from(["ours", "ours", "listening", "datagrams", "closed", "number", "text", "none"])
WATCHES = st.one_of(
    action("watch", KINDS, WATCHED, st.sampled_from([0, 1, 3, 100, 65536])),
    action("unwatch", KINDS, WATCHED),
)
PEER = st.one_of(
    action("peer_write", SIZES),
    action("datagram", SIZES),
    st.sampled_from(
        [["peer_half_close"], ["peer_close"], ["peer_reset"], ["knock"], ["knock"], ["peer_read"], ["peer_read"]]
    ),
)
STEPS = st.one_of(
    CALLS,
    CALLS,
    WATCHES,
    PEER,
    action("together", st.lists(st.one_of(CALLS, CALLS, WATCHES, PEER), min_size=2, max_size=5)),
)
SOCKETS = st.fixed_dictionaries(
    {
        "kind": st.just("sockets"),
        "family": st.sampled_from(["unix", "tcp"]),
        "blocking": st.sampled_from([False] * 9 + [True]),
        "debug": st.booleans(),
        "steps": st.lists(STEPS, min_size=1, max_size=10),
    }
)
