"""Random programs for play_transports."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SIZES = st.sampled_from([0, 1, 5, 100, 4096, 9000, 20000])
LARGE = st.sampled_from([300_000, 1_000_000])
NAMES = ("peername", "sockname", "socket", "sslcontext", "pipe", "nonsense")


def action(*parts: Any) -> st.SearchStrategy[list[Any]]:
    """A list of the parts, each of which is a strategy or itself."""
    return st.tuples(*(part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts)).map(list)


def limits() -> st.SearchStrategy[list[Any]]:
    some = st.sampled_from([None, 0, 1, 1000, 65536, 500_000, -1])
    return action("call", "set_write_buffer_limits", some, some)


WRITES = st.one_of(
    action("write", SIZES, st.sampled_from(["bytes", "bytes", "bytearray", "memoryview", "words"])),
    action("writelines", st.lists(SIZES, max_size=5)),
    action("write", LARGE),
    action("writelines", st.lists(st.one_of(SIZES, LARGE), min_size=1, max_size=3)),
)
ENDS = st.sampled_from([["call", name] for name in ("close", "abort", "write_eof")])
READING = st.sampled_from([["call", name] for name in ("pause_reading", "resume_reading")])
STATES = st.one_of(
    st.sampled_from(
        [["call", name] for name in ("is_closing", "is_reading", "can_write_eof", "get_write_buffer_limits")]
        + [["buffered"], ["get_protocol"]]
    ),
    action("extra", st.sampled_from(NAMES)),
)
PEER = st.one_of(
    action("peer_write", st.one_of(SIZES, st.just(30_000))),
    st.sampled_from([["peer_half_close"], ["peer_close"], ["peer_reset"]]),
)
WRONG = st.one_of(
    action("write_wrong", st.sampled_from(["text", "none", "number", "list"])),
    st.sampled_from([["call", "writelines", [1]], ["shutdown_socket"]]),
)
RAISES = action("raise", st.sampled_from(["ValueError", "OSError", "ConnectionResetError"]))
ACTIONS = st.one_of(WRITES, WRITES, ENDS, READING, STATES, limits(), WRONG, st.just(["set_protocol"]))
REACTIONS = st.one_of(WRITES, ENDS, READING, RAISES, st.just(["set_protocol"]), limits())


@st.composite
def protocols(draw: st.DrawFn) -> dict[str, Any]:
    """What a protocol does in its callbacks, once each."""
    reactions = []
    for callback in ("connection_made", "data_received", "pause_writing", "resume_writing", "connection_lost"):
        if draw(st.integers(0, 3)) == 3:
            reactions.append([callback, draw(REACTIONS)])
    if draw(st.booleans()):
        returned = action("return", st.sampled_from([True, False, None, 1]))
        reactions.append(["eof_received", draw(st.one_of(returned, REACTIONS))])
    buffer = draw(st.sampled_from([0, 0, 13, 100, 70_000]))
    if buffer and draw(st.integers(0, 3)) == 3:
        # Not an end: asyncio goes on to read, and calls a protocol whose connection is lost.
        reactions.append(["get_buffer", ["return", "empty"]])
    return {"buffer": buffer, "reactions": reactions}


def steps(actions: st.SearchStrategy[Any], together: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What a program does: each of these, and then the loop settles."""
    return st.one_of(
        actions,
        PEER,
        st.just(["peer_read"]),
        action("together", st.lists(together, min_size=2, max_size=5)),
        action("soon", st.one_of(actions, RAISES)),
    )


def transports(
    wires: list[str],
    protocols: st.SearchStrategy[Any],
    actions: st.SearchStrategy[Any],
    together: st.SearchStrategy[Any],
) -> st.SearchStrategy[dict[str, Any]]:
    """Programs of a transport that is made in one of these ways."""
    return st.fixed_dictionaries(
        {
            "kind": st.just("transports"),
            "wire": st.sampled_from(wires),
            "protocols": st.lists(protocols, min_size=1, max_size=2),
            "debug": st.sampled_from([False, False, False, True]),
            "handler_raises": st.sampled_from([False, False, False, True]),
            "steps": st.lists(steps(actions, together), min_size=1, max_size=10),
        }
    )


TRANSPORTS = transports(
    ["pair", "pair", "accepted", "tcp", "unix", "served"], protocols(), ACTIONS, st.one_of(ACTIONS, PEER)
)

#: Without marks, which asyncio's TLS has two layers of; with data_received, for its BufferedProtocol loses bytes there.
SMALL_WRITES = st.one_of(action("write", SIZES), action("writelines", st.lists(SIZES, max_size=5)))
TLS_ENDS = st.sampled_from([["call", "close"], ["call", "abort"], ["call", "write_eof"], ["call", "can_write_eof"]])
TLS_ACTIONS = st.one_of(SMALL_WRITES, SMALL_WRITES, TLS_ENDS, READING, st.just(["call", "is_closing"]))
TLS_CALLBACKS = st.sampled_from(["data_received", "eof_received", "connection_lost"])
TLS_REACTION = st.one_of(
    action(TLS_CALLBACKS, st.one_of(SMALL_WRITES, TLS_ENDS, READING)),
    # Who pauses in connection_made has asyncio keep the end of the handshake: the peer waits for it.
    action("connection_made", st.one_of(SMALL_WRITES, TLS_ENDS)),
)
TLS_REACTIONS = st.lists(TLS_REACTION, max_size=3)
TLS_PROTOCOLS = st.fixed_dictionaries({"buffer": st.just(0), "reactions": TLS_REACTIONS})
TLS = transports(["tls"], TLS_PROTOCOLS, TLS_ACTIONS, TLS_ACTIONS)  # what comes after close_notify is an accident
