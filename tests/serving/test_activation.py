"""Sockets that a service manager passes on: ``edgeloop.listen_fds``, in real child processes that inherit them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from service_manager import output, start
from sockets import listening_socket

pytestmark = pytest.mark.edgeloop_only

DESCRIBE = textwrap.dedent(
    """
    import fcntl, json, os, socket, edgeloop
    os.set_inheritable(3, True)
    passed = edgeloop.listen_fds(unset_environment=True)
    print(json.dumps({
        "sockets": [
            (name, sock.fileno(), sock.family.name, sock.type.name, fcntl.fcntl(sock, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
            for name, sock in passed
        ],
        "left": sorted(name for name in os.environ if name.startswith("LISTEN_")),
    }))
    """
)


def test_each_socket_has_its_name_its_family_and_its_type() -> None:
    with (
        listening_socket() as tcp,
        listening_socket(socket.AF_UNIX) as local,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp,
    ):
        told = json.loads(output([tcp, local, udp], DESCRIBE, LISTEN_FDNAMES="web:admin:"))
    assert told["sockets"] == [
        ["web", 3, "AF_INET", "SOCK_STREAM", 1],
        ["admin", 4, "AF_UNIX", "SOCK_STREAM", 1],
        ["", 5, "AF_INET6", "SOCK_DGRAM", 1],
    ]
    assert told["left"] == []


def test_sockets_without_names_are_unknown() -> None:
    with listening_socket() as tcp:
        told = json.loads(output([tcp], DESCRIBE))
    assert [name for name, *_ in told["sockets"]] == ["unknown"]


def test_sockets_of_another_process_are_left_alone() -> None:
    with listening_socket() as tcp:
        told = json.loads(output([tcp], DESCRIBE, LISTEN_PID="1"))
    assert told == {"sockets": [], "left": []}


def test_a_second_call_has_the_same_objects() -> None:
    program = textwrap.dedent(
        """
        import edgeloop, os
        first, second = edgeloop.listen_fds(), edgeloop.listen_fds()
        assert len(first) == 1 and first[0].sock is second[0].sock and first is not second
        assert dict(first) == {"unknown": first[0].sock}
        child = os.fork()
        if child == 0:
            os._exit(len(edgeloop.listen_fds()))
        assert os.waitpid(child, 0)[1] == 0
        assert "LISTEN_FDS" in os.environ
        edgeloop.listen_fds(unset_environment=True)
        assert edgeloop.listen_fds() == []
        """
    )
    with listening_socket() as tcp:
        output([tcp], program)


def test_wrong_variables_raise_a_value_error_that_names_them() -> None:
    """Nothing is taken then: the next call, with right ones, has all."""
    program = textwrap.dedent(
        """
        import edgeloop, json, os
        def attempt(**variables):
            own = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
            for name, value in (own | variables).items():
                os.environ[name] = value
            try:
                found = edgeloop.listen_fds()
            except ValueError as exc:
                found = str(exc)
            os.environ.pop("LISTEN_FDNAMES", None)
            return found
        told = [
            attempt(LISTEN_FDS="many"), attempt(LISTEN_FDS="-1"), attempt(LISTEN_FDS=" 1"), attempt(LISTEN_FDS="9" * 5000),
            attempt(LISTEN_PID="me"), attempt(LISTEN_PID="0"), attempt(LISTEN_FDS="1000000000"), attempt(LISTEN_FDS="2"),
            attempt(LISTEN_FDNAMES="one:two"), attempt(LISTEN_FDS="0"), len(attempt()),
        ]
        print(json.dumps(told))
        """
    )
    with listening_socket() as tcp, open("/dev/null"):
        told = json.loads(output([tcp], program, LISTEN_FDS="1"))
    many, negative, spaced, long, me, zero, huge, two, names, none, right = told
    assert "LISTEN_FDS='many'" in many and "LISTEN_FDS='-1'" in negative and "LISTEN_FDS=' 1'" in spaced
    assert "LISTEN_FDS=" in long and "LISTEN_PID='me'" in me and "LISTEN_PID='0'" in zero
    assert "LISTEN_FDS=1000000000" in huge and "LISTEN_FDS=2" in two and "descriptor 4" in two
    assert "LISTEN_FDNAMES='one:two'" in names and none == [] and right == 1


def test_what_is_no_socket_raises_a_value_error_that_names_the_descriptor(tmp_path: Path) -> None:
    program = "import edgeloop\ntry: edgeloop.listen_fds()\nexcept ValueError as exc: print(exc)"
    with open(tmp_path / "file", "w") as file, listening_socket() as tcp:
        assert "descriptor 4: Socket operation on non-socket" in output([tcp, file], program)  # type: ignore[list-item]


SERVER = textwrap.dedent(
    """
    import asyncio, edgeloop

    async def greet(reader, writer):
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    async def main():
        passed = dict(edgeloop.listen_fds(unset_environment=True))
        server = await asyncio.start_server(greet, sock=passed.pop("web"))
        local = await asyncio.start_unix_server(greet, sock=passed.pop("admin"))
        print("ready", flush=True)
        await server.serve_forever()

    edgeloop.run(main())
    """
)


def test_servers_answer_on_the_sockets_that_were_passed() -> None:
    with listening_socket() as tcp, listening_socket(socket.AF_UNIX) as local:
        process = start([tcp, local], "-c", SERVER, LISTEN_FDNAMES="web:admin")
        try:
            for listening in (tcp, local):  # they wait in the backlog until the child is there
                with socket.socket(listening.family) as client:
                    client.settimeout(60)
                    client.connect(listening.getsockname())
                    assert client.recv(100) == b"hello"
        finally:
            process.kill()
            process.communicate()


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not installed here"
)
def test_systemds_own_tool_starts_a_server_when_a_client_comes(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    address, admin = str(tmp_path / "web.sock"), str(tmp_path / "admin.sock")
    command = ["systemd-socket-activate", "-l", address, "-l", admin, "--fdname=web:admin", "-E", "PYTHONPATH"]
    command += ["-E", "EDGELOOP_PURE", sys.executable, str(tmp_path / "server.py")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            while process.poll() is None:
                try:
                    client.connect(address)
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    continue
            assert process.poll() is None, process.communicate()
            assert client.recv(100) == b"hello"
    finally:
        process.kill()
        process.communicate()
