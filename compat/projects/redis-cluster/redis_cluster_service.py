"""A Redis cluster on loopback for the tests: three primaries, each with a replica, in a temporary folder.

As a plugin of the project's own suite (``-p redis_cluster_service``) it starts one for the whole run and tells the suite
where.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from services.running import free_port

NODES = 6


class RedisCluster:
    """``start`` it, ``kill`` one of its nodes by port, ``end`` it. ``ports`` are where its nodes listen."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-cluster-"))
        self.ports: list[int] = []
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.ports[0]}/0"

    def start(self) -> None:
        self.ports = [free_port() for _ in range(NODES)]
        for port in self.ports:
            folder = self.folder / str(port)
            folder.mkdir()
            options = {
                "port": port,
                "cluster-port": free_port(),
                "cluster-enabled": "yes",
                "cluster-node-timeout": 2000,
                "bind": "127.0.0.1",
                "dir": folder,
                "save": "",
                "enable-debug-command": "yes",
            }
            arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
            self.processes[port] = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        for port in self.ports:
            while not self.says(port, "PING", "+PONG"):
                time.sleep(0.02)
        nodes = [f"127.0.0.1:{port}" for port in self.ports]
        create = ["redis-cli", "--cluster", "create", *nodes, "--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL)
        for port in self.ports:
            while not self.says(port, "CLUSTER INFO", "cluster_state:ok"):
                time.sleep(0.05)

    def says(self, port: int, command: str, words: str) -> bool:
        """Whether the node's answer to ``command`` has ``words`` in it."""
        try:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(command.encode() + b"\r\n")
                return words in sock.recv(4096).decode()
        except OSError:
            return False

    def kill(self, port: int) -> None:
        process = self.processes.pop(port)
        process.kill()
        process.wait()

    def end(self) -> None:
        for port in list(self.processes):
            self.kill(port)
        shutil.rmtree(self.folder)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config.option, "redis_url"):  # not the project's suite
        return
    cluster = RedisCluster()
    config.add_cleanup(cluster.end)
    cluster.start()
    config.option.redis_url = cluster.url
    config.option.redis_cluster_nodes = NODES
