"""The readers of edgeloop and of asyncio, fed and read alike: both give the same answers, whatever the order of things."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any

import pytest

from edgeloop import streams

pytestmark = pytest.mark.edgeloop_only


class Source:
    """What a reader sees of its transport: whether it is paused."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


class Unpausable(Source):
    def pause_reading(self) -> None:
        self.calls.append("pause")
        raise NotImplementedError


def pieces(chance: random.Random) -> list[bytes]:
    alphabet = b"ab\r\n"
    return [
        bytes(chance.choices(alphabet, k=chance.choice((0, 1, 2, 5, 17, 40)))) for _ in range(chance.randrange(1, 12))
    ]


def questions(chance: random.Random) -> list[tuple[str, tuple[Any, ...]]]:
    separators: list[Any] = [b"\n", b"\r\n", b"aba", b"", bytearray(b"b")]
    if sys.version_info >= (3, 13):
        separators += [(b"\n", b"\r"), (b"ab", b"bab"), (), (b"",)]
    asked: list[tuple[str, tuple[Any, ...]]] = []
    for _ in range(chance.randrange(3, 14)):
        name = chance.choice(("read", "readexactly", "readuntil", "readline", "at_eof", "peek"))
        if name in ("read", "readexactly"):
            asked.append((name, (chance.choice((0, 1, 2, 7, 50, 2**70, -1) if name == "read" else (0, 1, 3, 20, -1)),)))
        elif name == "readuntil":
            asked.append((name, (chance.choice(separators),)))
        else:
            asked.append((name, ()))
    return asked


async def story(cls: type[asyncio.StreamReader], seed: int) -> list[Any]:
    """What a reader of this class does in the story with this number."""
    chance = random.Random(seed)
    source = chance.choice((Source, Source, Unpausable))()
    reader: Any = cls(limit=chance.choice((1, 4, 16, 65536)), loop=asyncio.get_running_loop())
    if chance.random() < 0.8:
        reader.set_transport(source)
    fed, asked = pieces(chance), questions(chance)
    ending = chance.choice(("eof", "eof", "exception"))
    seen: list[Any] = []
    before = chance.randrange(len(fed) + 1)  # what comes before the first question

    async def ask() -> None:
        for name, arguments in asked:
            try:
                if name == "at_eof":
                    answer: Any = reader.at_eof()
                elif name == "peek":
                    answer = bytes(reader._buffer)
                else:
                    answer = await asyncio.wait_for(getattr(reader, name)(*arguments), 30)
                    assert type(answer) is bytes
            except Exception as exc:
                answer = (type(exc), exc.args, type(exc.__context__))
            seen.append((name, arguments, answer, list(source.calls)))

    for piece in fed[:before]:
        reader.feed_data(piece)
    asking = asyncio.ensure_future(ask())
    await asyncio.sleep(0)
    for piece in fed[before:]:
        reader.feed_data(piece)
        if chance.random() < 0.6:
            for _ in range(3):
                await asyncio.sleep(0)
    for _ in range(40):
        await asyncio.sleep(0)
    if ending == "exception":
        reader.set_exception(ConnectionResetError("gone"))
        if not asking.done():
            reader.feed_eof()
    else:
        reader.feed_eof()
    await asking
    seen.append((bytes(reader._buffer), reader.at_eof(), repr(reader.exception()), source.calls, reader._paused))
    return seen


@pytest.mark.parametrize("first", range(0, 400, 50))
async def test_readers_agree(first: int) -> None:
    for seed in range(first, first + 50):
        theirs = await story(asyncio.StreamReader, seed)
        ours = await story(streams.StreamReader, seed)
        assert (seed, ours) == (seed, theirs)
