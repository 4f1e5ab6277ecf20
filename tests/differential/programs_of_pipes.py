"""Random programs for play_pipes."""

from __future__ import annotations

from hypothesis import strategies as st
from programs_of_transports import action

SIZES = st.sampled_from([0, 1, 100, 4096])
SIDES = st.sampled_from(["reader", "writer"])
READER = st.sampled_from(
    [["call", "reader", name] for name in ("close", "pause_reading", "resume_reading", "is_reading", "is_closing")]
)
WRITER = st.sampled_from(
    [
        ["call", "writer", name]
        for name in ("close", "abort", "write_eof", "can_write_eof", "is_closing", "get_write_buffer_limits")
    ]
)
ACTIONS = st.one_of(
    action("write", SIZES),
    action("write", SIZES),
    READER,
    WRITER,
    action("call", SIDES, "get_extra_info", st.just("nonsense")),
    action("call", "writer", "set_write_buffer_limits", st.sampled_from([None, 0, 1000, -1])),
    st.sampled_from(
        [["call", "writer", "write", "text"], ["call", "writer", "write", None], ["call", "writer", "writelines", [1]]]
    ),
)
OTHERS = st.one_of(
    action("feed", SIZES),
    action("feed", SIZES),
    action("end", SIDES),
    action("write", st.just(300_000)),
    st.just(["drain"]),
)
CALLBACKS = st.sampled_from(["connection_lost", "data_received", "eof_received", "pause_writing"])
PIPES = st.fixed_dictionaries(
    {
        "kind": st.just("pipes"),
        "on": st.sampled_from(["pipe", "socket"]),
        "reactions": st.lists(st.tuples(CALLBACKS, st.one_of(ACTIONS, st.just(["raise"]))).map(list), max_size=3),
        "debug": st.booleans(),
        "steps": st.lists(st.one_of(ACTIONS, OTHERS), min_size=1, max_size=10),
    }
)
CHILD_STEPS = st.one_of(
    action("write", SIZES),
    st.just(["child", "get_pipe_transport", 7]),
    st.sampled_from([["call", "writer", "write_eof"], ["call", "writer", "close"]]),
    st.sampled_from([["child", "no_such"]]),
)
CHILDREN = st.fixed_dictionaries(
    {
        "kind": st.just("pipes"),
        "on": st.just("child"),
        "child": st.sampled_from(["cat", "exit", "speak", "head", "kill"]),
        "reactions": st.just([]),
        "debug": st.booleans(),
        "steps": st.lists(CHILD_STEPS, max_size=5),
    }
)
