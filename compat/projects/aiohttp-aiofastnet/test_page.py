"""aiofastnet over edgeloop, as aiohttp's page has it: both are really used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

from edgeloop_compat_pages import program


def test_with_aiofastnet(tmp_path: Path) -> None:
    text = program("with_aiofastnet.py").replace("8080", "0")
    (tmp_path / "with_aiofastnet.py").write_text(text)
    command = [sys.executable, "-u", "with_aiofastnet.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = re.search(r"http://127\.0\.0\.1:[1-9]\d*", process.stdout.readline())
            assert address
            with urlopen(address[0]) as answer:
                said = answer.read().decode()
        finally:
            process.terminate()
    assert said == "<class 'edgeloop.loop.EventLoop'>, <class 'aiofastnet.selector_transport.SelectorSocketTransport'>"
