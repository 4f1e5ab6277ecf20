"""What stands on nginx's page, run as it stands there, but for the port and the user of the workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from aiohttp import ClientSession
from edgeloop_compat_pages import PAGE, command, program
from nginx_process import eventually
from nginx_process import program as nginx_program
from services.ports import free_port
from services.running import run

LOOP = "<class 'edgeloop.loop.EventLoop'>"


def test_page(tmp_path: Path) -> None:
    port = free_port()
    (configuration,) = re.findall(r"^```nginx\n(# nginx\.conf\n.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(user + configuration.replace("8080", str(port)))
    (tmp_path / "behind_nginx.py").write_text(program("behind_nginx.py"))
    _, *arguments = command("nginx -p .")

    async def main() -> None:
        async with ClientSession(raise_for_status=True) as session:
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                assert await answer.text() == f"hello from {LOOP}"
            async with session.ws_connect(f"http://127.0.0.1:{port}/echo") as client:
                await client.send_str("hello")
                assert await client.receive_str() == "hello"

    with (tmp_path / "log").open("wb") as log:
        application = subprocess.Popen([sys.executable, "behind_nginx.py"], cwd=tmp_path, stdout=log, stderr=log)
        proxy = subprocess.Popen([nginx_program(), *arguments], cwd=tmp_path, stdout=log, stderr=log)
    try:
        eventually((tmp_path / "application.sock").is_socket, "the application listens")
        eventually((tmp_path / "nginx.pid").exists, "nginx listens")
        run(main())
    finally:
        for process in (proxy, application):
            process.terminate()
            process.wait()
