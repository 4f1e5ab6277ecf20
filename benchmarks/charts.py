"""Charts of a comparison: for each figure one SVG for light pages and one for dark ones, as README can show them.

A bar for each loop, shortest on top is best; a thin line from the smallest to the largest round; the axis begins at 0. The
figures stand in a column of their own, where no line crosses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from benchmarks.loops import LIMIT
from benchmarks.report import OURS, Document, interpreter, mean_ratio, rows

WIDTH = 720
LABELS = 150
VALUES = 110
EDGE = 12
BAR = 16
STEP = 24
TOP = 56
BOTTOM = 24
NOTE = 16


@dataclass(frozen=True)
class Colours:
    ground: str
    text: str
    faint: str
    grid: str
    ours: str
    other: str
    limit: str


THEMES = {
    "light": Colours("#ffffff", "#1f2328", "#59636e", "#d8dee4", "#0a7d55", "#9aa7b5", "#d0d7de"),
    "dark": Colours("#161b22", "#e6edf3", "#9198a1", "#30363d", "#3fb984", "#5b6673", "#3d444d"),
}


@dataclass(frozen=True)
class Bar:
    """A loop's value, with the smallest and the largest of its rounds."""

    loop: str
    value: float
    least: float
    most: float
    remark: str = ""


#: The figures that have a chart, by the name of its file: cell, column, title, unit.
CHARTS = {
    "echo": ("echo", "cpu_us", "TCP echo, Protocol: 1 KiB on 64 connections", "CPU µs per request"),
    "streams": ("streams", "cpu_us", "TCP echo, asyncio streams: 1 KiB on 64 connections", "CPU µs per request"),
    "ownstreams": (
        "ownstreams",
        "cpu_us",
        "TCP echo, streams of the loop's own where it has some",
        "CPU µs per request",
    ),
    "tls": ("tls", "cpu_us", "TLS echo, Protocol: 1 KiB on 64 connections", "CPU µs per request"),
    "flood": ("flood", "cpu_us", "A flood of UDP datagrams, received", "CPU µs per datagram"),
    "http": ("http", "cpu_us", "aiohttp's server, 64 connections", "CPU µs per request"),
    "fastapi": ("fastapi", "cpu_us", "FastAPI in uvicorn, 64 connections", "CPU µs per request"),
    "timers": ("timers", "cancel_ns", "A timer set and cancelled", "CPU ns"),
    "callsoon": ("callsoon", "batch_ns", "call_soon and its callback", "CPU ns"),
    "sleeps": ("sleeps", "off_us", "How far off its end a sleep of 200 µs is, mean", "µs"),
    "idle": ("idle", "pss", "Memory of an idle TCP connection", "bytes"),
    "burst": ("burst-32-200", "mean", "32 requests at once, each 200 µs of work", "mean µs to the answer"),
    "firstbyte": ("firstbyte", "mean", "A handler computes after each piece that it writes", "mean µs a piece is late"),
    "connflood": ("connflood", "p99", "A ping while others connect and reset", "µs, 99 %"),
    "dgramflood": ("dgramflood", "p99", "A ping while datagrams pour in", "µs, 99 %"),
    "handshakeflood": ("handshakeflood", "p99", "A ping while others make TLS handshakes", "µs, 99 %"),
    "threadflood": ("threadflood", "p99", "A ping while two threads call call_soon_threadsafe", "µs, 99 %"),
    "coldstart": ("coldstart", "ms", "From the start of the process to its first answer", "ms"),
}
SUMMARY = "all"


def draw(document: Document, folder: Path) -> list[Path]:
    """Write the charts that the document has figures for, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    foot = f"{document['date'][:10]}, {interpreter(document)}, {document['machine']}"
    rounds = "bar: median of the rounds; thin line: from the smallest to the largest"
    for name, title, unit, bars in figures(document):
        notes = [*failed(document, name), *([rounds] if any(bar.most > bar.least for bar in bars) else []), foot]
        for theme, colours in THEMES.items():
            path = folder / f"{name}-{theme}.svg"
            path.write_text("\n".join(svg(title, unit, notes, bars, colours)) + "\n")
            written.append(path)
    return written


def failed(document: Document, name: str) -> list[str]:
    """Which loops have no bar because they can't do it."""
    loops = document["cells"][CHARTS[name][0]]["loops"] if name in CHARTS else {}
    names = [loop for loop, found in loops.items() if found["failure"] is not None]
    return [f"failed: {', '.join(names)}"] if names else []


def figures(document: Document) -> Iterator[tuple[str, str, str, list[Bar]]]:
    found = list(rows(document))
    ratios = {loop: mean_ratio(found, loop, OURS) for loop in document["loops"]}
    whole = max(count for _, count in ratios.values())
    means = [
        Bar(loop, mean, mean, mean, f"({count} of {whole})" if count < whole else "")
        for loop, (mean, count) in ratios.items()
        if mean
    ]
    if len(means) > 1:
        # Without the limit, which only few of the cells have, the loops are compared in much the same cells.
        means = [bar for bar in means if bar.loop != LIMIT]
        yield (
            SUMMARY,
            "CPU time, geometric mean of all rows",
            "times edgeloop's, in the rows that both finished",
            ordered(means),
        )
    by_figure = {(row.cell, row.key): row for row in found}
    for name, (cell, key, title, unit) in CHARTS.items():
        row = by_figure.get((cell, key))
        if row is None:
            continue
        values = ((loop, row.value(loop), samples) for loop, samples in row.samples.items())
        bars = [Bar(loop, value, min(samples), max(samples)) for loop, value, samples in values if value is not None]
        if bars:
            yield name, title, unit, ordered(bars)


def ordered(bars: Sequence[Bar]) -> list[Bar]:
    """The limit first, then the best."""
    return sorted(bars, key=lambda bar: (bar.loop != LIMIT, bar.value))


def ticks(most: float) -> list[float]:
    """Round numbers from 0 to at least ``most``, four to nine of them."""
    rough = (most or 1.0) / 7
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= rough * 0.999)
    return [step * number for number in range(math.ceil((most or 1.0) / step * 0.999) + 1)]


def svg(title: str, unit: str, notes: Sequence[str], bars: Sequence[Bar], colours: Colours) -> Iterator[str]:
    marks = ticks(max(bar.most for bar in bars))
    room = WIDTH - LABELS - VALUES
    bottom = TOP + STEP * len(bars)
    height = bottom + BOTTOM + NOTE * len(notes)

    def x(value: float) -> str:
        return f"{LABELS + room * value / marks[-1]:.1f}"

    spoken = "; ".join(f"{bar.loop} {number(bar.value)}" for bar in bars)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-{EDGE} -{EDGE} {WIDTH + 2 * EDGE} {height + 2 * EDGE}"'
        f' width="{WIDTH + 2 * EDGE}" height="{height + 2 * EDGE}"'
        f' role="img" font-family="system-ui, sans-serif" font-size="13" fill="{colours.text}">'
    )
    yield f"<title>{escape(title)}, {escape(unit)}: {escape(spoken)}</title>"
    yield f'<rect x="-{EDGE}" y="-{EDGE}" width="100%" height="100%" rx="6" fill="{colours.ground}"/>'
    yield f'<text x="0" y="18" font-size="16" font-weight="600">{escape(title)}</text>'
    yield f'<text x="0" y="38" fill="{colours.faint}">{escape(unit)}; less is better</text>'
    for mark in marks:
        yield f'<line x1="{x(mark)}" x2="{x(mark)}" y1="{TOP - 6}" y2="{bottom}" stroke="{colours.grid}"/>'
        yield (
            f'<text x="{x(mark)}" y="{bottom + 16}" text-anchor="middle" font-size="11" fill="{colours.faint}">'
            f"{number(mark)}</text>"
        )
    for position, bar in enumerate(bars):
        yield from drawn(bar, TOP + STEP * position, x, colours)
    for position, note in enumerate(notes, 1):
        y = bottom + BOTTOM + NOTE * position - 4
        yield f'<text x="0" y="{y}" font-size="11" fill="{colours.faint}">{escape(note)}</text>'
    yield "</svg>"


def drawn(bar: Bar, top: int, x: Callable[[float], str], colours: Colours) -> Iterator[str]:
    ours = bar.loop.startswith(OURS)
    colour = colours.limit if bar.loop == LIMIT else colours.ours if ours else colours.other
    weight = ' font-weight="600"' if ours else ""
    middle = top + BAR / 2
    name = "C (limit)" if bar.loop == LIMIT else bar.loop
    yield f'<text x="{LABELS - 8}" y="{middle + 4.5:g}" text-anchor="end"{weight}>{escape(name)}</text>'
    width = float(x(bar.value)) - LABELS
    faint = ' opacity="0.6"' if ours and bar.loop != OURS else ""
    yield f'<rect x="{LABELS}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"{faint}/>'
    if bar.most > bar.least:
        yield f'<line x1="{x(bar.least)}" x2="{x(bar.most)}" y1="{middle:g}" y2="{middle:g}" stroke="{colours.faint}"/>'
    yield f'<text x="{WIDTH - VALUES + 58}" y="{middle + 4.5:g}" text-anchor="end"{weight}>{number(bar.value)}</text>'
    if bar.remark:
        yield (
            f'<text x="{WIDTH - VALUES + 64}" y="{middle + 4.5:g}" font-size="11" fill="{colours.faint}">'
            f"{escape(bar.remark)}</text>"
        )


def number(value: float) -> str:
    """Three digits are enough to read."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
