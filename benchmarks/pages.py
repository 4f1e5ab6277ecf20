"""Static pages: ``python -m benchmarks.pages``, examples/static_pages.py beside nginx and aiohttp's own static files.

Each server has one process on one core, wrk asks it from another one, by 64 connections that are kept. Rounds are
interleaved. A row has the medians of all rounds: pages a second, and CPU time of the server for each page. It needs wrk, and
leaves out the servers that are not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.loops import LOOPS, UnavailableError, environment, factory_or_exit
from benchmarks.machine import choose_cores, cpu_seconds, description, pinned

ROOT = Path(__file__).parent.parent
START_SECONDS = 30.0
SERVERS = {
    "static_pages.py": "edgeloop",
    "static_pages.py, sendfile for all": "edgeloop",
    "static_pages.py, pure edition": "edgeloop-pure",
    "nginx, sendfile": None,
    "nginx, no sendfile": None,
    "aiohttp on edgeloop": "edgeloop",
    "aiohttp on asyncio": "asyncio",
}
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    types {{ text/html html; }}
    sendfile {sendfile};
    tcp_nopush {sendfile};
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    server {{ listen 127.0.0.1:{port} backlog=1024; root {root}; }}
}}
"""


def serve_aiohttp(loop: str, port: int, root: str) -> None:
    from aiohttp import web

    application = web.Application()
    application.router.add_static("/", root)
    web.run_app(
        application,
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=lambda *words: None,
        loop=factory_or_exit(loop)(),
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def first(nice: int) -> list[str]:
    """What stands before a command that is to run with this niceness."""
    return ["nice", "-n", str(nice)] if nice else []


def command(name: str, port: int, root: Path, folder: Path) -> list[str]:
    """Return what starts the server. Raises UnavailableError."""
    if name.startswith("nginx"):
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise UnavailableError("nginx is not installed")
        configuration = folder / f"{port}.conf"
        sendfile = "off" if "no" in name.split() else "on"
        configuration.write_text(NGINX.format(folder=folder, port=port, root=root, sendfile=sendfile))
        return [program, "-c", str(configuration)]
    loop = SERVERS[name]
    assert loop is not None
    LOOPS[loop].version()
    if name.startswith("aiohttp"):
        return [sys.executable, "-m", "benchmarks.pages", "--aiohttp", json.dumps([loop, port, str(root)])]
    more = ["--sendfile-from", "0"] if "sendfile" in name else []
    return [sys.executable, str(ROOT / "examples" / "static_pages.py"), str(root), "--port", str(port), *more]


@contextlib.contextmanager
def server(name: str, core: int, nice: int, root: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """The server's process on that core; the process's number and the port. Raises UnavailableError."""
    port = free_port()
    arguments = first(nice) + command(name, port, root, folder)
    with pinned(core):
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env={**environment(SERVERS[name] or "asyncio"), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), START_SECONDS).close()
                break
            except ConnectionRefusedError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise UnavailableError(f"{name} doesn't start") from None
                time.sleep(0.02)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def round_of(name: str, seconds: float, connections: int, nice: int, root: Path, folder: Path) -> tuple[float, float]:
    """Return pages a second, and microseconds of CPU time for one."""
    cores = choose_cores()
    with server(name, cores.server, nice, root, folder) as (pid, port):
        url = f"http://127.0.0.1:{port}/page.html"
        load(url, 1, connections, nice, cores.load)
        before = cpu_seconds(pid)
        text = load(url, seconds, connections, nice, cores.load)
        used = cpu_seconds(pid) - before
    counted = re.search(r"(\d+) requests in ([\d.]+)(m?)s, ([\d.]+)(\w+) read", text)
    if counted is None or "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"{name} does not answer well: {text}")
    pages = int(counted[1])
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None
    return float(rate[1]), used / pages * 1e6


def load(url: str, seconds: float, connections: int, nice: int, core: int) -> str:
    # wrk takes whole seconds only.
    with pinned(core):
        return subprocess.run(
            [*first(nice), "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", url],
            check=True,
            capture_output=True,
            text=True,
        ).stdout


def measured(names: list[str], size: int, rounds: int, seconds: float, connections: int, nice: int) -> dict[str, Any]:
    """Return the rounds of each server, as (pages a second, CPU us per page)."""
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="edgeloop-pages-") as temporary:
        folder = Path(temporary)
        root = folder / "pages"
        root.mkdir()
        (root / "page.html").write_bytes(b"<p>" + b"x" * (size - 4) + b"\n")
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                try:
                    figures = round_of(name, seconds, connections, nice, root, folder)
                except UnavailableError as error:
                    if not number:
                        print(f"{name}: left out: {error}", file=sys.stderr)
                    continue
                found.setdefault(name, []).append(figures)
    return found


def table(found: dict[str, Any], names: list[str]) -> str:
    lines = ["| server | pages/s | CPU us per page | +-% | / first |", "| --- | ---: | ---: | ---: | ---: |"]
    first = None
    for name in names:
        if name in found:
            rates, costs = zip(*found[name], strict=True)
            cost = statistics.median(costs)
            first = first or cost
            spread = (max(costs) - min(costs)) / 2 / cost * 100
            lines.append(
                f"| {name} | {statistics.median(rates):,.0f} | {cost:.1f} | {spread:.0f} | {cost / first:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", help="names with ; between them (default: each)")
    parser.add_argument("--sizes", default="4096", help="bytes of the page, with commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round, whole ones (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--nice", type=int, default=0, help="of server and load, -20 to 19 (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the rounds instead of the table")
    parser.add_argument("--aiohttp", type=json.loads, help=argparse.SUPPRESS)  # the process of aiohttp's server
    arguments = parser.parse_args()
    if arguments.aiohttp is not None:
        serve_aiohttp(*arguments.aiohttp)
        return
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed (Debian: apt-get install wrk)")
    names = re.split(r"; *", arguments.servers) if arguments.servers else list(SERVERS)
    for size in map(int, arguments.sizes.split(",")):
        before = os.getloadavg()[0]
        found = measured(names, size, arguments.rounds, arguments.seconds, arguments.connections, arguments.nice)
        if arguments.json:
            print(json.dumps({"size": size, "servers": found}), flush=True)
            continue
        print(
            f"\n{size:,} bytes, {arguments.connections} connections; {description()}; load average before {before:.1f}\n"
        )
        print(table(found, names), flush=True)


if __name__ == "__main__":
    main()
