"""A plugin of aio-pika's own suite: where that starts RabbitMQ in a container, it gets Debian's RabbitMQ instead.

The suite speaks to Docker through a small client of its own, ``tests/docker_client.py``; its class is replaced by one
with the same methods.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from rabbitmq_service import RabbitServer

NODES: dict[str, RabbitServer] = {}
STATES: dict[str, int] = {}


class Docker:
    """What the suite's DockerClient can do, for one image."""

    def __init__(self, *_: Any) -> None:
        pass

    def run(self, image: str, ports: list[str], environment: dict[str, str] | None = None) -> Any:
        assert image == "mosquito/aiormq-rabbitmq"
        node = RabbitServer()
        name = f"node-{len(NODES)}"
        NODES[name] = node
        node.start()
        client = importlib.import_module("tests.docker_client")
        return client.ContainerInfo(id=name, ports=self._parse_ports(node), host="127.0.0.1")

    def inspect(self, name: str) -> RabbitServer:
        return NODES[name]

    def _parse_ports(self, node: RabbitServer) -> dict[str, int]:
        return {"5672/tcp": node.port, "5671/tcp": node.tls_port}

    def start(self, name: str) -> None:
        NODES[name].start()

    def kill(self, name: str) -> None:
        NODES[name].kill()

    def remove(self, name: str) -> None:
        NODES[name].end()

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Running a command in a container: made, started, asked after."""
        match path.split("/")[1:]:
            case ["containers", name, "exec"]:
                assert body
                program, *words = body["Cmd"]
                assert program == "rabbitmqctl"
                STATES[name] = NODES[name].control(*words)
                return {"Id": name}
            case ["exec", _, "start"]:
                return {}
            case ["exec", name, "json"]:
                return {"Running": False, "ExitCode": STATES[name]}
        raise NotImplementedError(f"{method} {path}")


class BeforeConftest:
    @pytest.hookimpl(tryfirst=True)
    def pytest_plugin_registered(self, plugin: object) -> None:
        # The suite's conftest.py, between its import and its first hook.
        if getattr(plugin, "DockerClient", None) is not None:
            plugin.DockerClient = Docker  # type: ignore[attr-defined]
            plugin.check_docker_available = lambda: None  # type: ignore[attr-defined]
            client = importlib.import_module("tests.docker_client")
            client.DockerClient = Docker  # type: ignore[attr-defined]


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.register(BeforeConftest(), "rabbitmq-for-docker")
