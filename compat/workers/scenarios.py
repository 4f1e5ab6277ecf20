"""What every server with worker processes has to stand, on any loop. Each takes a server that serves with two workers."""

from __future__ import annotations

import hashlib
import os
import signal

from .served import Served, descriptors, descriptors_become, epoll_sets, eventually, running
from .steady import Steady


def every_worker_answers(server: Served) -> None:
    """From the loop of this run, of which each process has one: one epoll set, and none that a fork has brought."""
    pids = server.answering(2)
    assert len(pids) == 2
    if server.loop_does_the_io:
        assert [epoll_sets(pid) for pid in sorted(pids)] == [1, 1]
    body = os.urandom(3_000_017)
    assert server.ask("/digest", body) == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    server.check_log()


def requests_leave_no_descriptors(server: Served) -> None:
    pids = server.answering(2)
    before = server.at_rest(pids)
    with Steady(server, on_one_connection=1) as steady:
        eventually(lambda: steady.more(400), "400 answers", server.log)
    steady.check()
    assert steady.pids == pids
    assert server.at_rest(pids) == before


def restart_under_steady_requests(server: Served) -> None:
    """SIGHUP replaces all workers; every request is answered, by the old ones or the new."""
    old = server.answering(2)
    parent = descriptors(server.pid)
    with Steady(server) as steady:
        eventually(lambda: steady.more(100), "100 answers", server.log)
        server.signal(signal.SIGHUP)
        eventually(lambda: not any(running(pid) for pid in old), "an end of the old workers", server.log)
        so_far = len(steady.answered)
        eventually(lambda: steady.more(so_far + 100), "100 answers of the new workers", server.log)
    steady.check()
    new = server.answering(2)
    assert not new & old
    assert steady.pids & new
    descriptors_become(server.pid, parent, server.log)
    server.check_log()


def killed_worker_is_replaced(server: Served) -> None:
    victim, survivor = server.answering(2)
    parent = descriptors(server.pid)
    os.kill(victim, signal.SIGKILL)
    found = server.answering(2, without={victim})
    assert survivor in found
    descriptors_become(server.pid, parent, server.log)
    if server.loop_does_the_io:
        assert [epoll_sets(pid) for pid in sorted(found)] == [1, 1]
    server.check_log()


def more_and_fewer_workers(server: Served) -> None:
    """SIGTTIN adds one, SIGTTOU takes one away, and nothing that was begun is lost by it."""
    first = server.answering(2)
    server.signal(signal.SIGTTIN)
    three = server.answering(3)
    assert first < three
    with Steady(server) as steady:
        eventually(lambda: steady.more(100), "100 answers", server.log)
        server.signal(signal.SIGTTOU)
        eventually(lambda: sum(map(running, three)) == 2, "two workers", server.log)
        so_far = len(steady.answered)
        eventually(lambda: steady.more(so_far + 100), "100 answers of the two that are left", server.log)
    steady.check()
    assert server.answering(2) == {pid for pid in three if running(pid)}
    server.check_log()


def request_in_flight_is_finished(server: Served, number: signal.Signals) -> None:
    """A signal in the middle of an answer: it is completed before its worker ends."""
    pids = server.answering(server.workers)
    connection = server.connect()
    connection.request("GET", "/slow/1.5")
    answer = connection.getresponse()
    start = answer.read1()
    server.signal(number)
    assert (start + answer.read()).endswith(b'"complete": true}')
    connection.close()
    if number == signal.SIGHUP:
        eventually(lambda: not any(running(pid) for pid in pids), "an end of the old workers", server.log)
        assert not server.answering(server.workers) & pids
    else:
        assert server.wait() == 0
        assert server.refuses()
    server.check_log()


def end_while_requests_come(server: Served) -> None:
    """SIGTERM under load: what was begun is answered, and no process is left."""
    server.answering(server.workers)
    with Steady(server) as steady:
        eventually(lambda: steady.more(100), "100 answers", server.log)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    # The port is closed now: that, and no other failure, is how every client has come to its end.
    unexpected = [failure for failure in steady.failures if "ConnectionRefusedError" not in failure]
    steady.failures.clear()
    steady.check()
    assert not unexpected
    server.check_log()


def workers_that_have_served_enough_are_replaced(server: Served) -> None:
    """For a server that was told to end a worker after some hundred requests."""
    old = server.answering(2)
    with Steady(server) as steady:
        eventually(lambda: not any(running(pid) for pid in old), "an end of the first two", server.log)
        so_far = len(steady.answered)
        eventually(lambda: steady.more(so_far + 100), "100 answers of their successors", server.log)
    steady.check()
    assert not server.answering(2) & old
    server.check_log()
