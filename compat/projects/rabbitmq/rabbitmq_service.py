"""RabbitMQ on loopback for the tests: a node of its own, with its own port mapper, apart from Debian's service."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import trustme
from services.running import free_port

USER = "rabbitmq"  # whom Debian's package creates


class RabbitServer:
    """One node: ``start``, ``stop`` (in order), ``kill`` (at once), ``control`` (rabbitmqctl), ``end`` (with its folder).

    ``port`` speaks plain, ``tls_port`` TLS with a certificate for localhost that ``authority`` has signed.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        self.port = free_port()
        self.tls_port = free_port()
        self.authority = self.folder / "authority.pem"
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
        self.process: subprocess.Popen[bytes] | None = None

    def _configure(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(str(self.folder / "server.key"))
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(str(self.folder / "server.crt"), append=True)
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

    def start(self) -> None:
        """Start it on the port it had before, with its durable queues, and wait until it greets."""
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [*self.as_user, "/usr/lib/rabbitmq/bin/rabbitmq-server"],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        while not (listens(self.port) and listens(self.tls_port)):
            if self.process.poll() is not None:
                raise RuntimeError(f"rabbitmq-server ended: {(self.folder / 'output').read_text()}")
            time.sleep(0.1)

    def control(self, *words: str) -> int:
        """rabbitmqctl's exit status."""
        command = [*self.as_user, "/usr/lib/rabbitmq/bin/rabbitmqctl", *words]
        return subprocess.run(command, env=self.environment, cwd=self.folder, stdout=subprocess.DEVNULL).returncode

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        """Signal the node, which may be a child of the script that starts it."""
        if self.process is not None:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            for pid in map(int, children or [str(self.process.pid)]):
                os.kill(pid, how)
            self.process.wait()
            self.process = None

    def end(self) -> None:
        self.kill()
        self.mapper.kill()
        self.mapper.wait()
        shutil.rmtree(self.folder)


def listens(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
