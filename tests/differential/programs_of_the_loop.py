"""Random programs for play_loop."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from programs_of_transports import action

SECONDS = st.sampled_from([0, 1, 2, 5, -1])
WHICH = st.integers(0, 5)
RAISED = st.sampled_from(
    ["ValueError", "ValueError", "TimeoutError", "CancelledError", "KeyboardInterrupt", "SystemExit"]
)
WRONG: list[list[Any]] = [
    ["call", "call_soon", "text"],
    ["call", "call_soon", None],
    ["call", "call_later", "soon", "text"],
    ["call", "call_later", None, None],
    ["call", "call_at", None, "text"],
    ["call", "call_soon_threadsafe", 3],
    ["call", "run_until_complete", "text"],
    ["call", "run_forever", 1],
    ["call", "create_task", "text"],
    ["call", "run_in_executor", None, None],
    ["call", "run_in_executor", None, "text"],
    ["call", "set_task_factory", "text"],
    ["call", "set_task_factory", None],
    ["call", "get_task_factory"],
    ["call", "set_debug", "text"],
    ["call", "add_signal_handler", 0, "len"],
    ["call", "add_signal_handler", "INT", "len"],
    ["call", "add_signal_handler", 9, "len"],
    ["call", "add_signal_handler", 1000, "len"],
    ["call", "add_signal_handler", 10, "text"],
    ["call", "remove_signal_handler", 0],
    ["call", "remove_signal_handler", 10],
    ["call", "remove_signal_handler", 1000],
    ["call", "remove_reader", 1000],
    ["call", "remove_writer", 1000],
    ["call", "remove_reader", -1],
    ["call", "add_reader", -1, "len"],
    ["call", "add_reader", "text", "len"],
    ["call", "add_reader", None, "len"],
    ["call", "add_writer", 100000, "len"],
    ["call", "default_exception_handler", {"message": "told"}],
    ["call", "default_exception_handler", {}],
    ["call", "call_exception_handler", {"message": "told"}],
    ["call", "close"],
    ["call", "no_such_method"],
]


def actions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What a callback does."""
    several = st.lists(inner, max_size=3)
    return st.one_of(
        action("soon", several),
        action("soon_in", st.integers(1, 5), several),
        action("threadsafe", several),
        action("thread", several),
        action("later", SECONDS, several),
        action("at", SECONDS, several),
    )


SCRIPT_LEAVES = st.one_of(
    st.just(["yield"]),
    action("sleep", st.sampled_from([0, 1, 2])),
    action("future", WHICH),
    action("shield", WHICH),
    action("raise", st.sampled_from(["ValueError", "CancelledError", "TimeoutError"])),
)


def waits(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What a task awaits."""
    script = st.lists(inner, max_size=3)
    scripts = st.lists(script, min_size=1, max_size=3)
    seconds = st.sampled_from([None, 0, 1, 2])
    return st.one_of(
        action("stubborn", script),
        action("wait_for", seconds, script),
        action("timeout", seconds, script),
        action("gather", scripts, st.booleans()),
        action("group", scripts),
        action("wait", scripts, seconds, st.sampled_from(["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"])),
    )


SCRIPTS = st.lists(st.recursive(SCRIPT_LEAVES, waits, max_leaves=6), max_size=4)
LEAVES = st.one_of(
    action("advance", st.sampled_from([0, 1, 2, 10])),
    action("cancel", WHICH),
    action("when", WHICH),
    st.sampled_from([["stop"], ["state"], ["nested"], ["signal"], ["kill"], ["no_signal"], ["call", "time"]]),
    action("raise", RAISED),
    action("set", st.integers(1, 5)),
    action("debug", st.booleans()),
    action("handler", st.sampled_from(["none", "text", "noting", "raising"])),
    action("report", st.sampled_from([{"message": "told"}, {}, {"message": "told", "more": 1}])),
    action("default_executor", st.sampled_from(["threads", "none", "text"])),
    action("task", SCRIPTS),
    action("cancel_task", WHICH),
    action("resolve", WHICH, st.sampled_from(["result", "exception", "cancel"])),
    st.sampled_from(WRONG),
)
ACTIONS = st.recursive(LEAVES, actions, max_leaves=8)
RUNS = st.one_of(
    st.sampled_from([["run", "forever", []], ["run", "future", []]]),
    action("run", "coroutine", st.lists(st.one_of(ACTIONS, st.just(["sleep"])), max_size=4)),
)
LOOPS = st.fixed_dictionaries(
    {
        "kind": st.just("loop"),
        "steps": st.lists(st.one_of(ACTIONS, ACTIONS, RUNS), min_size=1, max_size=12),
    }
)
