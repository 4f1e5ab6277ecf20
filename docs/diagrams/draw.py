"""Draws the diagrams of docs/architecture.md from the .dot files beside this one, by Graphviz.

    python docs/diagrams/draw.py     # writes NAME-light.svg and NAME-dark.svg for each NAME.dot

Each SVG keeps a hash of its .dot file, by which a test notices a diagram that was not drawn again.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
INK = {"light": "#24292f", "dark": "#e6edf3"}  # readable on GitHub's page of that theme


def mark(source: Path) -> str:
    """The comment that a drawing of this .dot file carries."""
    return f"<!-- {source.name} {hashlib.sha256(source.read_bytes()).hexdigest()} -->"


def drawn(source: Path, ink: str) -> str:
    """Return the SVG of a .dot file with lines and letters of this colour on no ground."""
    attributes = [f"-{kind}{name}={ink}" for kind in "NE" for name in ("color", "fontcolor")]
    fonts = [f"-{kind}fontname=sans-serif" for kind in "GNE"]
    command = ["dot", "-Tsvg", "-Gbgcolor=transparent", *fonts, *attributes, str(source)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return text[text.index("<svg") :].replace("<svg", f"{mark(source)}\n<svg", 1)


def main() -> None:
    for source in sorted(HERE.glob("*.dot")):
        for theme, ink in INK.items():
            source.with_name(f"{source.stem}-{theme}.svg").write_text(drawn(source, ink))


if __name__ == "__main__":
    main()
