"""Every link, anchor and picture of the site leads somewhere: ``python website/links.py build/site``.

MkDocs checks the links of Markdown. These are also the pages that it makes, HTML inside of pages, and the theme's.
"""

from __future__ import annotations

import posixpath
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag


class Links(HTMLParser):
    """Collects where a page leads to, and the names to which others may lead."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif name in ("href", "src"):
                self.targets.add(value)
            elif name == "srcset":
                self.targets.update(part.split()[0] for part in value.split(","))


def main() -> None:
    site = Path(sys.argv[1])
    pages: dict[str, Links] = {}
    for path in site.rglob("*.html"):
        page = pages[str(path.relative_to(site))] = Links()
        page.feed(path.read_text())
    dead = []
    for here, page in sorted(pages.items()):
        for target in sorted(page.targets):
            address, anchor = urldefrag(unquote(target))
            if ":" in address.partition("/")[0] or address.startswith("//") or here == "404.html":
                continue
            there = posixpath.normpath(posixpath.join(posixpath.dirname(here), address)) if address else here
            if not (site / there).exists():
                dead.append(f"{here}: {target}: there is no {there}")
            elif anchor and there in pages and anchor not in pages[there].anchors and not anchor.startswith("__"):
                dead.append(f"{here}: {target}: {there} has no #{anchor}")
    print(*dead, sep="\n", end="\n" if dead else "")
    sys.exit(f"{len(dead)} links lead nowhere" if dead else 0)


if __name__ == "__main__":
    main()
