"""RabbitMQ on loopback for the tests: a node of its own, with its own port mapper, apart from Debian's service."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from services import certificates
from services.ports import free_port, listens
from services.service import Service, children

USER = "rabbitmq"  # whom Debian's package creates


class RabbitServer(Service):
    """One node, with ``control`` (rabbitmqctl); its durable queues outlive a restart.

    ``port`` speaks plain, ``tls_port`` TLS with a certificate for localhost that ``authority`` has signed.
    """

    name = "rabbitmq"

    def __init__(self) -> None:
        super().__init__()
        self.tls_port = free_port()
        self.authority = certificates.write_for_localhost(self.folder)
        self._configure()
        mapper = free_port()
        self.as_user: list[str] = []
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, USER, USER)
            self.as_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups"]
        self.environment = {
            "PATH": os.environ["PATH"] + ":/usr/lib/rabbitmq/bin:/usr/sbin:/sbin",
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": "edgeloop@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "no-such-file"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        # The node starts a port mapper where it finds none, as a daemon that would outlive the tests.
        self.mapper = subprocess.Popen(
            [*self.as_user, "epmd", "-address", "127.0.0.1", "-port", str(mapper)],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not listens(mapper):
            time.sleep(0.02)

    def _configure(self) -> None:
        lines = (
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
            f"ssl_options.cacertfile = {self.authority}",
            f"ssl_options.certfile = {self.folder}/server.crt",
            f"ssl_options.keyfile = {self.folder}/server.key",
            "ssl_options.verify = verify_none",
        )
        (self.folder / "rabbitmq.conf").write_text("".join(line + "\n" for line in lines))

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def command(self) -> list[str | Path]:
        return [*self.as_user, "/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def serves(self) -> bool:
        return listens(self.port) and listens(self.tls_port)

    def control(self, *words: str) -> int:
        """rabbitmqctl's exit status."""
        command = [*self.as_user, "/usr/lib/rabbitmq/bin/rabbitmqctl", *words]
        return subprocess.run(command, env=self.environment, cwd=self.folder, stdout=subprocess.DEVNULL).returncode

    def send(self, number: signal.Signals) -> None:
        # The process is a script, which ends when its child, the node, has.
        assert self.process
        for pid in children(self.process.pid) or [self.process.pid]:
            os.kill(pid, number)

    def end(self) -> None:
        self.kill()  # a node that lost its mapper would start another
        self.mapper.kill()
        self.mapper.wait()
        super().end()
