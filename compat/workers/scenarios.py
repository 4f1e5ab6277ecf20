"""What a server with worker processes has to stand, on any loop: tests for the recipes' test classes to derive from.

They take their server from a fixture of the recipe's: ``server`` serves with two workers.
"""

from __future__ import annotations

import hashlib
import os
import signal

import pytest

from .served import Served, descriptors, descriptors_become, epoll_sets, eventually, running
from .steady import Steady


class Workers:
    """What every server with workers stands."""

    @pytest.fixture
    def last(self, server: Served) -> Served:
        """The server of the tests that end it."""
        return server

    @pytest.fixture(params=[signal.SIGTERM, signal.SIGINT])
    def ends(self, request: pytest.FixtureRequest) -> signal.Signals:
        """A signal upon which the server ends in order."""
        number: signal.Signals = request.param
        return number

    def test_every_worker_answers(self, server: Served) -> None:
        """From the loop of this run, of which each process has one: one epoll set, and none that a fork has brought."""
        pids = server.answering(2)
        assert len(pids) == 2
        if server.loop_does_the_io:
            assert [epoll_sets(pid) for pid in sorted(pids)] == [1, 1]
        body = os.urandom(3_000_017)
        assert server.ask("/digest", body) == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        server.check_log()

    def test_requests_leave_no_descriptors(self, server: Served) -> None:
        pids = server.answering(2)
        before = server.at_rest(pids)
        with Steady(server, on_one_connection=1) as steady:
            eventually(lambda: steady.more(400), "400 answers", server.log)
        steady.check()
        assert steady.pids == pids
        assert server.at_rest(pids) == before

    def test_restart_under_steady_requests(self, server: Served) -> None:
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

    def test_restart_finishes_a_request_in_flight(self, server: Served) -> None:
        old = server.answering(2)
        finish_a_request_in_flight(server, signal.SIGHUP)
        eventually(lambda: not any(running(pid) for pid in old), "an end of the old workers", server.log)
        assert not server.answering(2) & old
        server.check_log()

    def test_end_finishes_a_request_in_flight(self, last: Served, ends: signal.Signals) -> None:
        last.answering(last.workers)
        finish_a_request_in_flight(last, ends)
        assert last.wait() == 0
        assert last.refuses()
        last.check_log()

    def test_end_while_requests_come(self, last: Served) -> None:
        """SIGTERM under load: what was begun is answered, and no process is left."""
        last.answering(last.workers)
        with Steady(last) as steady:
            eventually(lambda: steady.more(100), "100 answers", last.log)
            last.signal(signal.SIGTERM)
            assert last.wait() == 0
        # The port is closed now: that, and no other failure, is how every client has come to its end.
        unexpected = [failure for failure in steady.failures if "ConnectionRefusedError" not in failure]
        steady.failures.clear()
        steady.check()
        assert not unexpected
        last.check_log()


class ReplacedWorkers(Workers):
    """... that begin again, one by one, where they have failed."""

    def test_killed_worker_is_replaced(self, server: Served) -> None:
        victim, survivor = server.answering(2)
        parent = descriptors(server.pid)
        os.kill(victim, signal.SIGKILL)
        found = server.answering(2, without={victim})
        assert survivor in found
        descriptors_become(server.pid, parent, server.log)
        if server.loop_does_the_io:
            assert [epoll_sets(pid) for pid in sorted(found)] == [1, 1]
        server.check_log()


class CountedWorkers(ReplacedWorkers):
    """... and whose number changes, and of which each ends when it has served enough.

    The fixture ``limited`` is a server that was told to end a worker after some hundred requests.
    """

    def test_more_and_fewer_workers(self, server: Served) -> None:
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

    def test_workers_that_have_served_enough_are_replaced(self, limited: Served) -> None:
        old = limited.answering(2)
        with Steady(limited) as steady:
            eventually(lambda: not any(running(pid) for pid in old), "an end of the first two", limited.log)
            so_far = len(steady.answered)
            eventually(lambda: steady.more(so_far + 100), "100 answers of their successors", limited.log)
        steady.check()
        assert not limited.answering(2) & old
        limited.check_log()


def finish_a_request_in_flight(server: Served, number: signal.Signals) -> None:
    """A signal in the middle of an answer: the answer is completed."""
    connection = server.connect()
    connection.request("GET", "/slow/1.5")
    answer = connection.getresponse()
    start = answer.read1()
    server.signal(number)
    assert (start + answer.read()).endswith(b'"complete": true}')
    connection.close()
