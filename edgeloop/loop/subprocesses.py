"""``subprocess_exec`` and ``subprocess_shell``. asyncio doc: Event Loop, Running Subprocesses."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from typing import Any

from .. import stdlib
from ..transports.subprocess import SubprocessTransport
from .pipes import Pipes

Child = tuple[asyncio.SubprocessTransport, asyncio.SubprocessProtocol]


def _check_binary(
    universal_newlines: bool, bufsize: int, encoding: str | None, errors: str | None, text: bool | None
) -> None:
    # Unbuffered bytes only: Popen's text mode and its buffering need blocking file objects.
    if universal_newlines:
        raise ValueError("universal_newlines must be False")
    if bufsize != 0:
        raise ValueError("bufsize must be 0")
    if text:
        raise ValueError("text must be False")
    if encoding is not None:
        raise ValueError("encoding must be None")
    if errors is not None:
        raise ValueError("errors must be None")


def _describe(stream: Any) -> str:
    return {subprocess.PIPE: "<pipe>", subprocess.STDOUT: "<stdout>"}.get(stream, repr(stream))


async def _start(
    loop: Pipes,
    protocol_factory: Callable[[], asyncio.SubprocessProtocol],
    what: str,
    args: Any,
    shell: bool,
    stdin: Any,
    stdout: Any,
    stderr: Any,
    kwargs: dict[str, Any],
) -> Child:
    protocol = protocol_factory()
    if loop._debug:
        # Not the arguments: they may contain secrets.
        streams = f"stdin={_describe(stdin)} stdout={_describe(stdout)} stderr={_describe(stderr)}"
        stdlib.logger().debug("%s %s", what, streams)
    transport = SubprocessTransport(loop, protocol, args, shell, stdin, stdout, stderr, 0, **kwargs)
    try:
        connecting = transport.connect()
    except MemoryError:  # not even the coroutine could be made
        transport.abandon()
        raise
    await connecting
    if loop._debug:
        stdlib.logger().info("%s: %r", what, transport)
    return transport, protocol


class Subprocesses(Pipes):
    """Child processes, as a mixin of EventLoop. The transports of their pipes are those that Pipes makes."""

    async def subprocess_exec(
        self,
        protocol_factory: Callable[[], asyncio.SubprocessProtocol],
        program: Any,
        *args: Any,
        stdin: Any = subprocess.PIPE,
        stdout: Any = subprocess.PIPE,
        stderr: Any = subprocess.PIPE,
        universal_newlines: bool = False,
        shell: bool = False,
        bufsize: int = 0,
        encoding: str | None = None,
        errors: str | None = None,
        text: bool | None = None,
        **kwargs: Any,
    ) -> Child:
        """Start ``program`` with ``args``; return the transport and the protocol. Other keywords are subprocess.Popen's.

        Raises ValueError for text mode, buffering or ``shell``, and whatever Popen raises: OSError, SubprocessError.
        """
        if shell:
            raise ValueError("shell must be False")
        _check_binary(universal_newlines, bufsize, encoding, errors, text)
        return await _start(
            self,
            protocol_factory,
            f"execute program {program!r}",
            (program, *args),
            False,
            stdin,
            stdout,
            stderr,
            kwargs,
        )

    async def subprocess_shell(
        self,
        protocol_factory: Callable[[], asyncio.SubprocessProtocol],
        cmd: str | bytes,
        *,
        stdin: Any = subprocess.PIPE,
        stdout: Any = subprocess.PIPE,
        stderr: Any = subprocess.PIPE,
        universal_newlines: bool = False,
        shell: bool = True,
        bufsize: int = 0,
        encoding: str | None = None,
        errors: str | None = None,
        text: bool | None = None,
        **kwargs: Any,
    ) -> Child:
        """Run ``cmd`` in the shell; return the transport and the protocol. For the rest see ``subprocess_exec``."""
        if not isinstance(cmd, (bytes, str)):
            raise ValueError("cmd must be a string")
        if not shell:
            raise ValueError("shell must be True")
        _check_binary(universal_newlines, bufsize, encoding, errors, text)
        return await _start(
            self, protocol_factory, f"run shell command {cmd!r}", cmd, True, stdin, stdout, stderr, kwargs
        )
