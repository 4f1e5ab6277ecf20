"""The transport of a child process. asyncio doc: Transports and Protocols, Subprocess Transports.

The child's end is seen through a pidfd in the epoll set, pidfd_open(2): no signal handler, no thread, and the loop
may run in any thread. Where there is no pidfd to be had (a sandbox's filter, a kernel before Linux 5.3, no descriptor
left), one thread for that child waits instead.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable
from typing import Any

from .. import stdlib
from ..core.failures import raise_interruption
from ..kernel import os_calls
from ..watching.layout import PLACES

CHILDREN = PLACES["children"]
_NO_WAITERS: set[asyncio.Future[int]] = set()  # of a child that has ended: nobody waits any more


class _PipeProtocol(asyncio.Protocol):
    """One of the child's pipes: passes on what happens there."""

    def __init__(self, process: SubprocessTransport, number: int) -> None:
        self._process: Any = process
        self.number = number
        self.pipe: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self.number} pipe={self.pipe!r}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.pipe = transport

    def data_received(self, data: bytes) -> None:
        self._process._schedule_protocol_call("pipe_data_received", self.number, data)

    def connection_lost(self, exc: Exception | None) -> None:
        process, self._process = self._process, None
        process._pipes_left -= 1
        try:
            process._schedule_protocol_call("pipe_connection_lost", self.number, exc)
        finally:
            process._finish_if_over()

    def pause_writing(self) -> None:
        self._process.get_protocol().pause_writing()

    def resume_writing(self) -> None:
        self._process.get_protocol().resume_writing()


class SubprocessTransport(asyncio.SubprocessTransport):
    """A child process and the transports of its pipes.

    The constructor starts the child and raises as ``subprocess.Popen`` does; ``connect`` then connects its pipes and calls
    ``connection_made``. It owns the pidfd and closes it at the child's end; each pipe's transport owns that pipe's file.
    Only the loop's thread may call it. It ends with ``connection_lost``, when the child and all its pipes have ended;
    ``close`` kills the child.
    """

    _closed = True  # until there is something to close
    _pidfd = -1

    def __init__(
        self,
        loop: Any,
        protocol: asyncio.BaseProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        **kwargs: Any,
    ) -> None:
        extra: dict[str, Any] = {}
        super().__init__(extra)
        self._loop = loop
        self._protocol: Any = protocol
        self._proc: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._returncode: int | None = None
        # What happened before connection_made was called; None from then on.
        self._early: list[tuple[Callable[..., object], tuple[Any, ...]]] | None = []
        self._exit_waiters: set[asyncio.Future[int]] = set()
        self._finished = False
        standard = (stdin, stdout, stderr)
        self._pipes: dict[int, _PipeProtocol | None] = {
            number: None for number, what in enumerate(standard) if what == subprocess.PIPE
        }
        self._pipes_left = len(self._pipes)  # that have not ended
        self._proc = subprocess.Popen(
            args, shell=shell, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=bufsize, **kwargs
        )
        self._closed = False
        self._pid = self._proc.pid
        extra["subprocess"] = self._proc
        if loop.get_debug():
            program = args if isinstance(args, (bytes, str)) else args[0]
            stdlib.logger().debug("process %r created: pid %s", program, self._pid)
        try:
            self._loop.reactor.figures.add(CHILDREN)
            self._watch_child()
        except BaseException:
            self.close()
            self._forget_child()
            self._loop.reactor.figures.add(CHILDREN, -1)
            self._proc.wait()  # it was killed, and nobody else will ever ask
            self._close_files()
            raise

    async def connect(self) -> None:
        """Make transports of the child's pipes and call ``connection_made``, which comes before all else.

        If that fails or is cancelled, the child is killed and the protocol hears nothing.
        """
        loop, child = self._loop, self._proc
        assert child is not None
        try:
            if child.stdin is not None:
                _, self._pipes[0] = await loop.connect_write_pipe(lambda: _PipeProtocol(self, 0), child.stdin)
            if child.stdout is not None:
                _, self._pipes[1] = await loop.connect_read_pipe(lambda: _PipeProtocol(self, 1), child.stdout)
            if child.stderr is not None:
                _, self._pipes[2] = await loop.connect_read_pipe(lambda: _PipeProtocol(self, 2), child.stderr)
            loop.call_soon(self._call_connection_made)
            await asyncio.sleep(0)
        except BaseException as exc:
            raise_interruption(exc)
            self.close()
            try:
                await asyncio.shield(self._wait())
            finally:
                self._close_files()  # a transport has closed its own by now; this is for those that never had one
            raise

    def _call_connection_made(self) -> None:
        # What has happened already follows. One callback for all of it, or, where there is no memory for that, none.
        try:
            self._protocol.connection_made(self)
        finally:
            early, self._early = self._early, None
            for callback, args in early or ():
                self._loop.call_soon(callback, *args)

    def abandon(self) -> None:
        """Kill a child whose pipes have no transports."""
        try:
            self.close()
        finally:
            self._close_files()

    def _close_files(self) -> None:
        if self._proc is not None:
            for file in (self._proc.stdin, self._proc.stdout, self._proc.stderr):
                if file is not None:
                    file.close()

    # What happens to the child

    def _watch_child(self) -> None:
        assert self._pid is not None
        try:
            self._pidfd = os_calls.pidfd_open(self._pid)
            self._loop.add_reader(self._pidfd, self._child_exited)
        except OSError:
            # ENOSYS and EPERM: no such call here. EMFILE, ENFILE, ENOMEM, ENOSPC: none left. ESRCH: it is gone already,
            # reaped by somebody else. A thread needs none of it.
            self._forget_child()
            self._wait_in_thread()

    def _forget_child(self) -> None:
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(pidfd)
            os.close(pidfd)

    def _wait_in_thread(self) -> None:
        threading.Thread(
            target=_wait_for_exit,
            args=(self._loop, self._pid, self._child_exited),
            name=f"edgeloop-waitpid-{self._pid}",
            daemon=True,
        ).start()

    def _child_exited(self) -> None:
        if self._returncode is not None or self._proc is None:
            return
        assert self._pid is not None
        try:
            code = os_calls.reap(self._pid)
        except ChildProcessError:
            code = self._proc.returncode  # it may have been Popen's own poll() or wait() that reaped it
            if code is None:
                code = 255
                stdlib.logger().warning(
                    "child process pid %d exit status already read: will report returncode 255", self._pid
                )
        try:
            self._forget_child()
        finally:
            if code is None:
                self._wait_in_thread()  # ptrace(2): it is dead, and its debugger has not let go of it
            else:
                self._process_exited(code)

    def _process_exited(self, returncode: int) -> None:
        # All steps are made, whatever one raises: nobody can ask for the status again.
        assert self._proc is not None
        self._returncode = returncode
        if self._proc.returncode is None:
            self._proc.returncode = returncode  # or Popen would think that it still runs
        try:
            self._loop.reactor.figures.add(CHILDREN, -1)
            if self._loop.get_debug():
                stdlib.logger().info("%r exited with return code %r", self, returncode)
            self._schedule_protocol_call("process_exited")
        finally:
            try:
                self._finish_if_over()
            finally:
                waiters, self._exit_waiters = self._exit_waiters, _NO_WAITERS
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(returncode)

    def _schedule_protocol_call(self, method: str, *args: Any) -> None:
        self._soon(self._call_protocol, method, *args)

    def _call_protocol(self, method: str, *args: Any) -> None:
        # The method is looked up here, where an AttributeError is reported and keeps nothing else from happening.
        getattr(self._protocol, method)(*args)

    def _soon(self, callback: Callable[..., object], *args: Any) -> None:
        if self._early is None:
            self._loop.call_soon(callback, *args)
        else:
            self._early.append((callback, args))

    def _finish_if_over(self) -> None:
        # connection_lost comes when the child and all its pipes have ended.
        if not self._finished and self._returncode is not None and not self._pipes_left:
            self._soon(self._call_connection_lost)
            self._finished = True

    def _call_connection_lost(self) -> None:
        try:
            self._protocol.connection_lost(None)
        finally:
            self._proc = None
            self._protocol = None
            self._loop = None

    # asyncio.SubprocessTransport

    def get_pid(self) -> int:
        """The process id of the child."""
        assert self._pid is not None  # the constructor raises if there is no child
        return self._pid

    def get_returncode(self) -> int | None:
        """Its exit status, -N if signal N ended it, None while it runs."""
        return self._returncode

    def get_pipe_transport(self, fd: int) -> asyncio.BaseTransport | None:
        """The transport of the child's stdin (0), stdout (1) or stderr (2); None where that is no pipe of ours."""
        pipe = self._pipes.get(fd)
        return None if pipe is None else pipe.pipe

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the child to another protocol."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol in charge; None when the connection is over."""
        return self._protocol  # type: ignore[no-any-return]

    def send_signal(self, signal: int) -> None:  # the name is asyncio's
        """Send the child a signal. Does nothing if it has just ended; ProcessLookupError after ``connection_lost``."""
        if self._proc is None:
            raise ProcessLookupError()
        if self._returncode is not None:
            return
        try:
            self._signal_child(signal)
        except ProcessLookupError:
            pass

    def _signal_child(self, number: int) -> None:
        if self._pidfd >= 0:
            os_calls.pidfd_send_signal(self._pidfd, number)
        elif self._is_running():  # else somebody may have reaped it, and another process have its number
            assert self._pid is not None
            os.kill(self._pid, number)

    def terminate(self) -> None:
        """Send SIGTERM; raises as ``send_signal`` does."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL; raises as ``send_signal`` does."""
        self.send_signal(signal.SIGKILL)

    async def _wait(self) -> int:
        """The exit status, once there is one. ``asyncio.subprocess.Process.wait`` calls this.

        It does not wait for the pipes, which a grandchild may hold open: asyncio does so since gh-119710 (2026) only.
        """
        if self._returncode is not None:
            return self._returncode
        waiter: asyncio.Future[int] = self._loop.create_future()
        self._exit_waiters.add(waiter)
        try:
            return await waiter
        finally:
            self._exit_waiters.discard(waiter)

    def is_closing(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def close(self) -> None:
        """Close the pipes and kill the child if it still runs."""
        if self._closed:
            return
        self._closed = True
        loop_is_open = self._loop is not None and not self._loop.is_closed()
        for pipe in self._pipes.values():
            if pipe is not None and loop_is_open:
                pipe.pipe.close()
        if self._is_running():
            assert self._proc is not None
            if loop_is_open and self._loop.get_debug():
                stdlib.logger().warning("Close running child process: kill %r", self)
            kill = self._proc.kill
            try:
                if getattr(kill, "__func__", None) is subprocess.Popen.kill:
                    self._signal_child(signal.SIGKILL)
                else:
                    kill()  # somebody has put their own in its place, and asyncio calls that
            except (ProcessLookupError, PermissionError):
                pass  # gone since, or another user's: a set-user-ID program
        if not loop_is_open:
            self._forget_child()  # no loop is left to watch it

    def _is_running(self) -> bool:
        if self._proc is None or self._returncode is not None or self._proc.returncode is not None:
            return False
        try:
            return not os_calls.has_ended(self._proc.pid)  # Popen.poll() would take the status away from the watch
        except ChildProcessError:
            return False

    def __del__(self) -> None:
        if not self._closed:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)  # closed in time, but the loop was as well before the child's end

    def __repr__(self) -> str:
        words = [type(self).__name__]
        if self._closed:
            words.append("closed")
        if self._pid is None:
            words.append("not started")
        else:
            words.append(f"pid={self._pid}")
            words.append("running" if self._returncode is None else f"returncode={self._returncode}")
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            pipe = self._pipes.get(number)
            if pipe is not None:
                words.append(f"{name}={pipe.pipe!r}")
        return f"<{' '.join(words)}>"


def _wait_for_exit(loop: Any, pid: int, exited: Callable[[], object]) -> None:
    # In a thread of its own. The loop's thread reaps, so that nobody there signals a number given away since.
    try:
        os_calls.wait_until_ended(pid)
    except ChildProcessError:
        pass  # reaped elsewhere: the loop's look will find out
    try:
        loop.call_soon_threadsafe(exited)
    except RuntimeError:
        stdlib.logger().warning("Loop %r that handles pid %r is closed", loop, pid)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass
