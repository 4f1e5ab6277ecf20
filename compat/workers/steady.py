"""Steady requests against a server that is meanwhile reloaded, and what became of every single one."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
from types import TracebackType

from .served import Served


class Steady:
    """Clients that ask without a break, each with a few requests on a connection, while the ``with`` block runs.

    A server may close a kept-alive connection whenever no request is being worked on, and a client that has sent one at
    that moment sends it again (RFC 9112, section 9.3.1). So an attempt may end in silence: closed with not one byte of an
    answer. That is allowed, and counted, as long as the application has not begun to work on it. Nothing else is.
    """

    def __init__(self, server: Served, clients: int = 4, on_one_connection: int = 5) -> None:
        self.server = server
        self.on_one_connection = on_one_connection
        self.answered: set[str] = set()
        self.silent: set[str] = set()
        self.pids: set[int] = set()
        self.failures: list[str] = []
        self._numbers = itertools.count(1)
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]

    def __enter__(self) -> Steady:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> bool:
        """Whether ``count`` more requests than now are answered; to be waited for."""
        return len(self.answered) >= count or bool(self.failures)

    def check(self) -> None:
        """Every request that was begun was answered, and nothing went wrong."""
        log = self.server.log()
        assert not self.failures, f"{self.failures}\n{log}"
        lost = set(self.server.begun()) - self.answered
        assert not lost, f"begun, and not answered: {sorted(lost)}\n{log}"

    def _client(self) -> None:
        try:
            while not self._enough.is_set():
                self._one_connection()
        except Exception as exc:
            self.failures.append(f"{exc!r}")

    def _one_connection(self) -> None:
        connection = self.server.connect()
        try:
            connection.connect()
            for _ in range(self.on_one_connection):
                number = str(next(self._numbers))
                try:
                    connection.request("GET", f"/numbered/{number}")
                    answer = connection.getresponse()
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                    self.silent.add(number)
                    return
                facts = json.loads(answer.read())
                if answer.status != 200 or facts["number"] != number:
                    self.failures.append(f"{number}: {answer.status} {facts}")
                self.answered.add(number)
                self.pids.add(facts["pid"])
                if answer.will_close:
                    return
        finally:
            connection.close()
