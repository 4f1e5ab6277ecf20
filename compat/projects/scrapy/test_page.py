"""What stands on docs/projects/scrapy.md, run as it stands there."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from pathlib import Path

import edgeloop_compat_pages as pages


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>A page</title>")


def test_spider(tmp_path: Path) -> None:
    (tmp_path / "spider.py").write_text(pages.program("spider.py"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            done = subprocess.run(
                [sys.executable, "spider.py", f"http://127.0.0.1:{server.server_port}/"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
            )
        finally:
            server.shutdown()
    # The page says it: also where the loop under test is asyncio's.
    assert done.stdout == "200 <class 'edgeloop.loop.EventLoop'>\n", done.stderr
