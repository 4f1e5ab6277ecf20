"""What subprocess_exec and subprocess_shell take: everything of subprocess.Popen but text and buffering."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from children import no_children_left
from recording import Run

PIPE = subprocess.PIPE


async def output_of(*args: Any, **kwargs: Any) -> str:
    child = await asyncio.create_subprocess_exec(*args, stdout=PIPE, **kwargs)
    out, _ = await child.communicate()
    assert child.returncode == 0
    return out.decode().strip()


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"universal_newlines": True}, "universal_newlines must be False"),
        ({"bufsize": 4096}, "bufsize must be 0"),
        ({"text": True}, "text must be False"),
        ({"encoding": "utf-8"}, "encoding must be None"),
        ({"errors": "strict"}, "errors must be None"),
    ],
)
async def test_text_and_buffers_are_refused(keywords: dict[str, Any], text: str) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(ValueError, match=f"^{text}$"):
        await loop.subprocess_exec(asyncio.SubprocessProtocol, "true", **keywords)
    with pytest.raises(ValueError, match=f"^{text}$"):
        await loop.subprocess_shell(asyncio.SubprocessProtocol, "true", **keywords)


async def test_shell_argument() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(ValueError, match=r"^shell must be False$"):
        await loop.subprocess_exec(asyncio.SubprocessProtocol, "true", shell=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^shell must be True$"):
        await loop.subprocess_shell(asyncio.SubprocessProtocol, "true", shell=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^cmd must be a string$"):
        await loop.subprocess_shell(asyncio.SubprocessProtocol, ["true"])  # type: ignore[arg-type]
    child = await asyncio.create_subprocess_shell(b"exit 3")
    assert await child.wait() == 3


@pytest.mark.parametrize("streams", [{}, {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}])
def test_what_can_not_be_started(run: Run, tmp_path: Path, streams: dict[str, Any]) -> None:
    script = tmp_path / "not executable"
    script.write_text("#!/bin/sh\n")

    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec(str(tmp_path / "missing"), **streams)
        with pytest.raises(PermissionError):
            await asyncio.create_subprocess_exec(str(script), **streams)
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("true", cwd=tmp_path / "missing", **streams)
        with pytest.raises(NotADirectoryError):
            await asyncio.create_subprocess_exec("true", cwd=script, **streams)
        with pytest.raises(TypeError):
            await asyncio.create_subprocess_exec("true", no_such_keyword=1, **streams)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="null byte"):
            await asyncio.create_subprocess_exec("tr\0ue", **streams)

    run(main())
    assert no_children_left()


async def test_env_and_cwd(tmp_path: Path) -> None:
    env = {"WORD": "yes", "PATH": os.environ["PATH"]}
    assert await output_of("sh", "-c", "echo $WORD; pwd", env=env, cwd=tmp_path) == f"yes\n{tmp_path}"
    assert await output_of(Path("/bin/echo"), b"bytes", "text") == "bytes text"
    assert await output_of("a name", "-c", "echo $0", executable="/bin/sh") == "a name"


async def test_descriptors() -> None:
    read, write = os.pipe()
    list_them = (sys.executable, "-c", f"import os; os.fstat({write})")
    child = await asyncio.create_subprocess_exec(*list_them, stderr=subprocess.DEVNULL)
    assert await child.wait() == 1
    child = await asyncio.create_subprocess_exec(*list_them, pass_fds=(write,))
    assert await child.wait() == 0
    os.set_inheritable(write, True)
    child = await asyncio.create_subprocess_exec(*list_them, close_fds=False)
    assert await child.wait() == 0
    os.close(read)
    os.close(write)


async def test_session_and_group() -> None:
    code = "import os; print(os.getpid() == os.getsid(0), os.getpid() == os.getpgid(0))"

    assert await output_of(sys.executable, "-c", code) == "False False"
    assert await output_of(sys.executable, "-c", code, start_new_session=True) == "True True"
    assert await output_of(sys.executable, "-c", code, process_group=0) == "False True"


async def test_umask_and_pipesize() -> None:
    assert int(await output_of("sh", "-c", "umask", umask=0o27), 8) == 0o27
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "cat", pipesize=1 << 18)
    stdin: Any = transport.get_pipe_transport(0)
    assert fcntl.fcntl(stdin.get_extra_info("pipe"), fcntl.F_GETPIPE_SZ) == 1 << 18
    transport.close()
    await transport._wait()  # type: ignore[attr-defined]
    await asyncio.sleep(0)


async def test_user_and_group() -> None:
    """As root another user; else our own, which setreuid(2) allows to everybody."""
    account = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    extra: dict[str, Any] = {"extra_groups": []} if os.getuid() == 0 else {}

    found = await output_of("sh", "-c", "id -u; id -g", user=account.pw_uid, group=account.pw_gid, **extra)
    assert found == f"{account.pw_uid}\n{account.pw_gid}"


async def test_preexec_fn() -> None:
    read, write = os.pipe()
    assert await output_of("echo", "after", preexec_fn=lambda: os.write(write, b"x") and None) == "after"
    assert os.read(read, 10) == b"x"
    os.close(read)
    os.close(write)


async def test_our_own_streams_keep_their_flags() -> None:
    """A child that inherits the terminal must not find it non-blocking, nor must we afterwards."""
    read, write = os.pipe()
    before = fcntl.fcntl(read, fcntl.F_GETFL)
    code = "import fcntl; print(fcntl.fcntl(0, fcntl.F_GETFL))"
    assert int(await output_of(sys.executable, "-c", code, stdin=read)) == before
    assert fcntl.fcntl(read, fcntl.F_GETFL) == before
    os.close(read)
    os.close(write)


@pytest.mark.edgeloop_only
def test_no_fork_hooks_run() -> None:
    """os.register_at_fork is for forks that go on as Python, and can be slow or lock."""
    script = """
import asyncio, os, edgeloop
called = []
os.register_at_fork(before=lambda: called.append("before"), after_in_parent=lambda: called.append("after"))
async def main():
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()
edgeloop.run(main())
print(called)
"""
    found = subprocess.run([sys.executable, "-c", script], stdout=PIPE, check=True, timeout=60)
    assert found.stdout == b"[]\n"
