"""Scenarios of the fail-call campaign: the loop itself, descriptors of the user's, datagrams, signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncGenerator

from stage import DatagramWitness, Stage

SENT = bytes(range(256)) * 1500  # more than a socket takes at once


def construction(stage: Stage) -> None:
    """A loop is made, runs twice, and is closed; what could not be done in its first run can be done in the next."""
    loop = stage.new_loop()
    try:
        for _ in range(2):
            try:
                loop.run_until_complete(asyncio.sleep(0.001))
            except OSError:
                loop.run_until_complete(asyncio.sleep(0.001))  # the one fault has been: a loop that is not broken runs
    finally:
        loop.close()


def threads(stage: Stage) -> None:
    """Other threads' callbacks, and the executor's results."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            came = asyncio.Event()  # a future could be cancelled by then, and could not be set
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(came.set,))
            thread.start()
            await came.wait()
            thread.join()
        if await loop.run_in_executor(None, len, b"four") != 4:
            stage.wrong("the executor's result is another's")
        own = asyncio.Event()  # as above
        loop.call_soon_threadsafe(own.set)  # from its own thread, which wakes it as well
        await own.wait()

    stage.run(play)


def signals(stage: Stage) -> None:
    """A signal is told, once."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        came: list[int] = []
        loop.add_signal_handler(signal.SIGUSR1, came.append, 1)
        try:
            for number in range(1, 3):
                with stage.calm():  # the C handler's own write(2) is the interpreter's
                    os.kill(os.getpid(), signal.SIGUSR1)
                for _ in range(200):
                    if len(came) == number:
                        break
                    await asyncio.sleep(0.005)
                else:
                    stage.wrong(f"of {number} signals {len(came)} were told")
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)

    stage.run(play)


def readers(stage: Stage) -> None:
    """add_reader and add_writer, that leave something to be called again for."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        with stage.calm():
            one, other = socket.socketpair()
            one.setblocking(False)
            other.setblocking(False)
        came = bytearray()
        written: list[int] = []
        all_there = loop.create_future()

        def read() -> None:
            with stage.calm():
                came.extend(one.recv(2))
            if len(came) == 10 and not all_there.done():
                all_there.set_result(None)

        def write() -> None:
            with stage.calm():
                written.append(other.send(b"ab"))
            if len(written) == 5:
                loop.remove_writer(other)

        try:
            loop.add_reader(one, read)
            loop.add_writer(other, write)
            await all_there
            if came != b"ab" * 5:
                stage.wrong(f"{came!r} came")
        finally:
            loop.remove_reader(one)
            loop.remove_writer(other)
            with stage.calm():
                one.close()
                other.close()

    stage.run(play)


def sock_calls(stage: Stage) -> None:
    """The sock_* coroutines, from accept and connect to the end."""

    async def answer(listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        conn, _ = await loop.sock_accept(listening)
        try:
            left = len(SENT)
            while left and (data := await loop.sock_recv(conn, 65536)):
                left -= len(data)
                await loop.sock_sendall(conn, data)
        finally:
            with stage.calm():
                conn.close()

    async def play() -> None:
        loop = asyncio.get_running_loop()
        with stage.calm():
            listening = socket.create_server(("127.0.0.1", 0))
            listening.setblocking(False)
            sock = socket.socket()
            sock.setblocking(False)
            address = listening.getsockname()
        answering = loop.create_task(answer(listening))
        try:
            await loop.sock_connect(sock, address)
            sending = loop.create_task(loop.sock_sendall(sock, SENT))
            try:
                came = bytearray()
                room = bytearray(50000)
                while len(came) < len(SENT):
                    count = await loop.sock_recv_into(sock, room)
                    if not count:
                        raise EOFError
                    came += room[:count]
                if came != SENT:
                    stage.wrong("other bytes came back than were sent")
            finally:
                await asyncio.gather(sending, return_exceptions=True)
            await answering
        finally:
            # The other end goes first, as one that failed does not hear of it.
            answering.cancel()
            with stage.calm():
                sock.close()
                listening.close()
            await asyncio.gather(answering, return_exceptions=True)

    async def limited() -> None:
        try:
            await asyncio.wait_for(play(), 5)
        except TimeoutError:
            if not stage.calls.fired()[1]:
                stage.wrong("the bytes do not come")
            raise

    stage.run(limited)


def datagrams(stage: Stage) -> None:
    """Datagrams there and back, one by one and many at once; over connected and over bound sockets."""

    class Back(DatagramWitness):
        def datagram_received(self, data: bytes, addr: object) -> None:
            super().datagram_received(data, addr)
            self.transport.sendto(data, addr)

    async def play() -> None:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(stage.witness(Back, "server"), ("127.0.0.1", 0))
        try:
            with stage.calm():
                address = server.get_extra_info("sockname")
            transport, client = await loop.create_datagram_endpoint(
                stage.witness(DatagramWitness, "client"), remote_addr=address
            )
            try:
                transport.sendto(b"one")
                await client.bytes_in(3)
                for number in range(10):
                    transport.sendto(b"%d" % number)
                await client.bytes_in(13)
            finally:
                transport.close()
            await client.over
        finally:
            server.close()

    async def limited() -> None:
        try:
            await asyncio.wait_for(play(), 3)
        except TimeoutError:  # a lost datagram is the network's right, but not fair weather's
            raise

    stage.run(limited)


def sock_datagrams(stage: Stage) -> None:
    """sock_sendto, sock_recvfrom and sock_recvfrom_into."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        with stage.calm():
            one, other = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
            for sock in (one, other):
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
        try:
            waiting = loop.create_task(loop.sock_recvfrom(other, 100))
            await asyncio.sleep(0)
            await loop.sock_sendto(one, b"there", other.getsockname())
            data, address = await asyncio.wait_for(waiting, 3)
            await loop.sock_sendto(other, data + b" and back", address)
            room = bytearray(100)
            count, _ = await asyncio.wait_for(loop.sock_recvfrom_into(one, room), 3)
            if room[:count] != b"there and back":
                stage.wrong(f"{room[:count]!r} came")
        finally:
            with stage.calm():
                one.close()
                other.close()

    stage.run(play)


def shutdown(stage: Stage) -> None:
    """Everything that a loop can have open when it is closed: timers, tasks, the executor, a generator."""

    async def ticks() -> AsyncGenerator[int, None]:
        for number in range(100):
            yield number
            await asyncio.sleep(0)

    async def play() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(100, print)
        tasks = [loop.create_task(asyncio.sleep(100)) for _ in range(3)]
        generator = ticks()
        await anext(generator)
        await loop.run_in_executor(None, len, b"")
        tasks.pop()
        await asyncio.sleep(0.001)

    stage.run(play)


SCENARIOS = (construction, threads, signals, readers, sock_calls, datagrams, sock_datagrams, shutdown)
