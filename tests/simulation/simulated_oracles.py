"""What must hold whenever a loop sleeps, and at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulated_kernel import ERR, HUP, IN, OUT, RDHUP, File, Kernel
from simulated_peers import ListeningPeer, PipePeer, StreamPeer
from simulated_pipes import PipeEnd
from simulated_streams import TcpSocket
from simulated_tls import TlsPeer

if TYPE_CHECKING:
    from simulated_run import Run

READ = IN | RDHUP | HUP | ERR
OPEN, CLOSING, LOST = 0, 1, 2


def levels(file: File) -> int:
    """What holds of a file, asked without a trace."""
    if isinstance(file, TcpSocket):
        no_space = file.no_space
        mask = file.poll()
        file.no_space = no_space
        return mask
    if isinstance(file, PipeEnd):
        polled = file.pipe.polled
        mask = file.poll()
        file.pipe.polled = polled
        return mask
    return file.poll()


def left_behind(loop: Any, kernel: Kernel) -> list[str]:
    """The channels that the kernel has news for and the program wants: an edge was lost."""
    found = []
    reactor = loop.reactor
    if reactor.flush_queue:
        found.append("the loop sleeps on gathered bytes (rule 5)")
    for channel in reactor.channels:
        if channel is None or not channel.added:
            continue
        file = kernel.files.get(channel.fd)
        if file is None:
            continue  # closed by its owner
        wanted = _wanted(channel)
        if wanted and wanted & levels(file):
            found.append(f"an edge is lost: {channel!r} wants {wanted:#x}, the kernel has {levels(file):#x}")
    return found


def _wanted(channel: Any) -> int:
    kind = type(channel).__name__
    if kind in ("StreamTransport", "DatagramTransport", "ReadPipeTransport", "WritePipeTransport"):
        if channel._ask is not None and channel._ask() != channel.fd:
            return 0
        wanted = 0
        reads = kind != "WritePipeTransport" and channel._state == OPEN and not channel._paused
        if reads and not getattr(channel, "_eof_received", False):
            wanted |= READ
        if getattr(channel, "_write_buffer", None) and getattr(channel, "_retry", None) is None:
            wanted |= OUT
        if getattr(channel, "_sender", None) is not None and channel._empty_waiter is not None:
            wanted |= OUT
        rates = getattr(channel, "_rates", None)
        if rates is not None and rates.read_held:
            wanted &= ~READ  # it goes on by the wheel's timer
        if rates is not None and rates.write_held:
            wanted &= ~OUT
        if kind == "WritePipeTransport" and channel._state < LOST:
            wanted |= ERR
        if kind == "DatagramTransport":
            wanted &= ~HUP
        return wanted
    if kind == "Listener":
        if channel.sock.fileno() != channel.fd or channel._retry is not None:
            return 0
        if channel._suspended or channel.full:
            return 0  # resume, and the end of a connection, have it go on
        return IN
    if kind == "Watch":
        return _wanted_of_watch(channel)
    return 0


def _wanted_of_watch(channel: Any) -> int:
    for owner in (channel.owner, channel.fileobj):
        if owner is not None and not isinstance(owner, int) and owner.fileno() != channel.number:
            return 0
    if channel._turns_unverified:
        return 0  # it looks again in time (rule 10)
    wanted = 0
    if channel.reader is not None or (channel._receiving is not None and not channel._receiving.done()):
        wanted |= IN
    if channel.writer is not None or (channel._sending is not None and not channel._sending.done()):
        wanted |= OUT
    return wanted


def check_arrival(run: Run) -> None:
    """Everything is read: what was written on connections that are still whole must have arrived."""
    for peer in run.peers:
        if (
            isinstance(peer, StreamPeer)
            and not peer.over
            and not peer.was_cruel
            and not isinstance(peer, ListeningPeer)
        ):
            _check_flow(run, peer.to_it, "the loop")
            _check_flow(run, peer.from_it, "another process")
            if isinstance(peer, TlsPeer) and peer.unanswered() and _is_heard(run, peer):
                run.fail(f"{peer.unanswered()} questions of the peer's TLS engine are not answered")
        elif isinstance(peer, PipePeer) and not peer.over and not peer.was_cruel:
            _check_flow(run, peer.flow, "a pipe's writer")
    for flow, unread, is_waiting in run.readings:
        if is_waiting() and flow.taken + unread() != flow.written:
            run.fail(f"a reader waits though {flow.written} bytes were written and {flow.taken} have arrived")


def _is_heard(run: Run, peer: TlsPeer) -> bool:
    # Somebody of the loop's reads what this peer sends.
    found = [endpoint for endpoint in run.endpoints if endpoint.incoming is peer.from_it]
    return any(
        one.is_ready and not one.lost and not one.may_lose and not one.transport.is_closing() and not is_held(one)
        for one in found
    )


def is_held(endpoint: Any) -> bool:
    """Whether its server's rate has the rest come later."""
    transport = endpoint.transport
    lower = getattr(getattr(transport, "_tls_connection", None), "lower", None)
    rates = getattr(transport if lower is None else lower, "_rates", None)
    return rates is not None and (rates.read_held or rates.write_held)


def _check_flow(run: Run, flow: Any, who: str) -> None:
    for endpoint in run.endpoints:
        if flow in (endpoint.out, endpoint.incoming):
            if endpoint.may_lose or endpoint.lost or is_held(endpoint):
                return
            if flow is endpoint.incoming and (not endpoint.made or endpoint.transport.is_closing()):
                return
            if flow.taken != flow.written:
                run.fail(f"{who} has written {flow.written} bytes, {flow.taken} have arrived")
            return
