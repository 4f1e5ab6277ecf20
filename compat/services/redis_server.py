"""redis-server with the options a test gives it."""

from __future__ import annotations

from collections.abc import Mapping

from .ports import answer
from .service import Service


class RedisServer(Service):
    """One redis-server on ``port``, with its data and its socket, named socket, in ``folder``."""

    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://localhost:{self.port}/0"

    def options(self) -> Mapping[str, object]:
        """What its configuration has besides."""
        return {}

    def command(self) -> list[str]:
        always = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "unixsocket": self.folder / "socket",
            "enable-debug-command": "yes",
        }
        said = {**always, **self.options()}
        return ["redis-server", *(word for name, value in said.items() for word in (f"--{name}", str(value)))]

    def serves(self) -> bool:
        return self.says("PING", "+PONG")

    def says(self, command: str, words: str) -> bool:
        """Whether its answer to ``command`` has ``words`` in it."""
        return words in answer(self.port, f"{command}\r\n".encode()).decode()
