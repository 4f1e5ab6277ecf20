"""docs/serving.md: the program for a service manager, the one behind a proxy, and the proxy's configuration."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from example_process import environment
from repository import ROOT
from service_manager import notified_at, start
from sockets import listening_socket
from switching_on_page import program

pytestmark = pytest.mark.edgeloop_only

PAGE = ROOT / "docs" / "serving.md"


def test_the_server_of_a_service_manager_greets_tells_and_stops(tmp_path: Path) -> None:
    (tmp_path / "activated.py").write_text(program("activated.py", PAGE))
    with listening_socket() as listening, notified_at(str(tmp_path / "notify")) as manager:
        manager.settimeout(60)
        process = start(
            [listening],
            str(tmp_path / "activated.py"),
            LISTEN_FDNAMES="greetings",
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            WATCHDOG_USEC="10000000",
        )
        try:
            told = {manager.recv(1000), manager.recv(1000)}
            assert told == {b"READY=1\nSTATUS=greeting", b"WATCHDOG=1"}
            with socket.create_connection(listening.getsockname(), 60) as client:
                assert client.recv(100) == b"hello\n"
            process.send_signal(signal.SIGTERM)
            assert manager.recv(1000) == b"STOPPING=1"
            _, errors = process.communicate(timeout=60)
            assert (process.returncode, errors) == (0, "")
        finally:
            process.kill()
            process.communicate()


def test_the_unit_names_the_socket_as_the_program_asks_for_it() -> None:
    units = re.findall(r"^```ini\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert any("FileDescriptorName=greetings\n" in unit for unit in units)
    assert any("Type=notify\nWatchdogSec=" in unit for unit in units)


def test_the_server_behind_a_proxy_prints_what_stands_below_it(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    text = program("behind_a_proxy.py", PAGE)
    (tmp_path / "behind_a_proxy.py").write_text(text)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "behind_a_proxy.py")],
        env=environment(request.config, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    below = re.search(r"^```text\n(.*?)^```$", PAGE.read_text().partition(text)[2], re.DOTALL | re.MULTILINE)
    assert below is not None
    assert (done.returncode, done.stdout, done.stderr) == (0, below[1], "")


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed here")
def test_haproxy_takes_the_configuration(tmp_path: Path) -> None:
    found = re.search(r"^```haproxy\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    times = "defaults\n    timeout connect 5s\n    timeout client 5s\n    timeout server 5s\n"
    (tmp_path / "haproxy.cfg").write_text(times + found[1])
    done = subprocess.run(
        ["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
