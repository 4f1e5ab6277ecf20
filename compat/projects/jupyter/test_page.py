"""What stands on docs/projects/jupyter.md: the kernel is started as a notebook would start it, and given cells."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import edgeloop_compat_pages as pages
import pytest
from jupyter_client import BlockingKernelClient, KernelManager


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingKernelClient]:
    folder = tmp_path / "kernels" / "edgeloop"
    folder.mkdir(parents=True)
    found = re.findall(r"^```json\n(.*?)^```$", pages.PAGE.read_text(), re.S | re.M)
    (folder / "kernel.json").write_text(found[0])
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    manager = KernelManager(kernel_name="edgeloop")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def printed(client: BlockingKernelClient, cell: str) -> str:
    """What a cell prints; an exception is shown as its name."""
    said: list[str] = []

    def hear(message: dict[str, dict[str, str]]) -> None:
        content = message["content"]
        said.append(content.get("text", content.get("ename", "")))

    client.execute_interactive(cell, timeout=60, output_hook=hear)
    return "".join(said)


def test_cells(kernel: BlockingKernelClient) -> None:
    assert printed(kernel, pages.program("cell.py")) == "<class 'edgeloop.loop.EventLoop'>\n"
    assert printed(kernel, "await asyncio.sleep(0.01); print('slept')") == "slept\n"
    run = "p = await asyncio.create_subprocess_exec('echo', 'hello', stdout=-1); print(await p.communicate())"
    assert printed(kernel, run) == "(b'hello\\n', None)\n"
    server = (
        "s = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)\n"
        "r, w = await asyncio.open_connection(*s.sockets[0].getsockname())\n"
        "print(await r.read()); w.close(); s.close()"
    )
    assert printed(kernel, server) == "b''\n"
    assert printed(kernel, "await asyncio.sleep(0, 1 / 0)") == "ZeroDivisionError"
