"""The site in a real browser: each page, light and dark, on a phone and on a desk. ``nox -s docs-browser``

A page fails for a picture that does not show, a page wider than its window, an error on the console, a request that fails,
and one that goes anywhere but to the site itself.

    python website/browser.py build/site --shots build/shots tls.html index.html
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

WIDTHS = {"narrow": (390, 844), "wide": (1440, 900)}
SCHEMES = ("light", "dark")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

FINDINGS = """() => {
    const found = [];
    for (const image of document.images) {
        if (getComputedStyle(image).display === "none") continue;
        if (!image.complete || image.naturalWidth === 0) found.push(`a picture does not show: ${image.src}`);
    }
    const wide = document.documentElement.scrollWidth, window_ = document.documentElement.clientWidth;
    if (wide > window_) {
        const scrolls = ".md-typeset__scrollwrap, pre, code, svg";
        const widest = [...document.querySelectorAll("main *")].filter(
            (one) => one.getBoundingClientRect().right > window_ + 1 && !one.closest(scrolls)
        );
        const names = widest.slice(0, 3).map((one) => one.outerHTML.slice(0, 90));
        found.push(`the page is ${wide} wide in a window of ${window_}: ${names}`);
    }
    return found;
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the site and logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(site: Path) -> http.server.ThreadingHTTPServer:
    """Serve the folder on a port of the kernel's choice, from a thread that ends with the process."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def look(browser: Any, address: str, names: list[str], shots: Path | None) -> list[str]:
    """Open each page in each way and return what is wrong."""
    found: list[str] = []
    for width, (x, y) in WIDTHS.items():
        for scheme in SCHEMES:
            context = browser.new_context(viewport={"width": x, "height": y}, color_scheme=scheme)
            page = context.new_page()
            said: list[str] = []
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)  # noqa: B023
            page.on("pageerror", lambda error: said.append(str(error)))  # noqa: B023
            # What the page before had not loaded yet is given up: net::ERR_ABORTED.
            page.on(
                "requestfailed",
                lambda request: (
                    None if request.failure == "net::ERR_ABORTED" else said.append(f"failed: {request.url}")  # noqa: B023
                ),
            )
            page.on(
                "request",
                lambda request: (
                    None
                    if request.url.startswith((address, "data:", "blob:"))
                    else said.append(f"elsewhere: {request.url}")  # noqa: B023
                ),
            )
            for name in names:
                said.clear()
                page.goto(f"{address}/{name}", wait_until="load")
                said += page.evaluate(FINDINGS)
                found += [f"{name}, {width}, {scheme}: {line}" for line in said]
                if shots is not None:
                    page.screenshot(path=shots / f"{name.replace('/', '-')}-{width}-{scheme}.png", full_page=True)
            context.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    parser.add_argument("pages", nargs="*", help="these alone")
    parser.add_argument("--shots", type=Path, help="a folder for pictures of each")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("chromium-browser"))
    options = parser.parse_args()
    if options.chromium is None:
        sys.exit("no chromium is there: on Debian, apt-get install chromium")
    names = options.pages or sorted(
        str(path.relative_to(options.site))
        for path in options.site.rglob("*.html")
        if path.relative_to(options.site).parts[0] != "source" and path.name != "404.html"
    )
    if options.shots is not None:
        options.shots.mkdir(parents=True, exist_ok=True)
    server = serve(options.site)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        browser = playwright.chromium.launch(
            executable_path=options.chromium, args=OPTIONS, env={"HOME": profile, "XDG_CONFIG_HOME": profile}
        )
        found = look(browser, address, names, options.shots)
        browser.close()
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(names)} pages, each in {len(WIDTHS) * len(SCHEMES)} ways: {len(found)} findings")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
