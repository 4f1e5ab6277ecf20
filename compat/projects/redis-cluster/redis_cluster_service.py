"""A Redis cluster on loopback for the tests: three primaries, each with a replica.

As a plugin of the project's own suite (``-p redis_cluster_service``) it starts one for the whole run and tells the suite
where.
"""

from __future__ import annotations

import subprocess
import time

import pytest
from services.ports import free_port
from services.redis_server import RedisServer

NODES = 6


class Node(RedisServer):
    def __init__(self) -> None:
        super().__init__()
        self.cluster_port = free_port()

    def options(self) -> dict[str, object]:
        return {
            "cluster-port": self.cluster_port,
            "cluster-enabled": "yes",
            "cluster-node-timeout": 2000,
            "save": "",
        }


class RedisCluster:
    """``start`` it, ``kill`` one of its nodes by port, ``end`` it."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{next(iter(self.nodes))}/0"

    def start(self) -> None:
        for _ in range(NODES):
            node = Node()
            self.nodes[node.port] = node
            node.start()
        addresses = [f"127.0.0.1:{port}" for port in self.nodes]
        create = ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL)
        for node in self.nodes.values():
            while not node.says("CLUSTER INFO", "cluster_state:ok"):
                time.sleep(0.05)

    def kill(self, port: int) -> None:
        self.nodes[port].kill()

    def end(self) -> None:
        for node in self.nodes.values():
            node.end()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config.option, "redis_url"):  # not the project's suite
        return
    cluster = RedisCluster()
    config.add_cleanup(cluster.end)
    cluster.start()
    config.option.redis_url = cluster.url
    config.option.redis_cluster_nodes = NODES
