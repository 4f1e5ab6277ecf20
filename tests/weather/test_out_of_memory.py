"""An allocation of edgeloop's fails: MemoryError or a report comes of it, and nothing is lost, left half changed or leaked."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
import scenarios_of_files
import scenarios_of_streams
import scenarios_of_the_loop
from kernel_truth import needs_gcc
from weather_runs import WHOLE, described, environment, lines_of

pytestmark = [
    pytest.mark.edgeloop_only,
    pytest.mark.fair_weather,
    needs_gcc,
    pytest.mark.skipif(
        not WHOLE and sys.version_info[:2] != (3, 13),
        reason="other interpreters survive less: make weather",
    ),
]

SCENARIOS = [
    scenario.__name__
    for module in (scenarios_of_streams, scenarios_of_files, scenarios_of_the_loop)
    for scenario in module.SCENARIOS
]

PRELUDE = textwrap.dedent(
    '''
    import asyncio, contextlib, gc, json, os, socket, sys
    import edgeloop
    from out_of_memory import FailingAllocations

    gc.collect()
    gc.freeze()
    allocations = FailingAllocations()
    allocations.prepare()
    loop = edgeloop.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    wrong = []

    def run(awaitable):
        """Run it to its end; the stop of a run before may come in between."""
        future = asyncio.ensure_future(awaitable, loop=loop)
        while not future.done():
            try:
                loop.run_until_complete(future)
            except RuntimeError:
                pass
        return future

    def run_with_fault(number):
        """Turns of the loop in which that allocation fails. A callback of its own may not be called: so there are two."""
        loop.call_later(0.002, loop.stop)
        loop.call_later(0.01, loop.stop)
        allocations.arm(number)
        try:
            loop.run_forever()
        except MemoryError:
            pass
        allocations.disarm()
        if asyncio._get_running_loop() is not None or loop.is_running():
            wrong.append("the loop counts as running")
            raise SystemExit(json.dumps([number, wrong]))
        loop.call_later(0.01, loop.stop)  # one of the others may have come together with the first
        loop.run_forever()

    def each(first=1, every=1):
        """Numbers, as long as there is an allocation of that number or after it."""
        number = first
        while number < 100_000:
            yield number
            allocations.disarm()
            if not allocations.failed():
                break
            number = max(number, allocations.failed()) + every
    '''
)


def wrong_in(script: str) -> list[str]:
    """What a program finds to be wrong."""
    program = PRELUDE + textwrap.dedent(script) + "\nloop.close()\nprint(json.dumps([number, wrong]))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    number, wrong = json.loads(done.stdout)
    assert number > 1, "nothing has failed"
    return list(wrong)


def test_what_is_read_has_no_gap() -> None:
    """Bytes that were taken from the kernel and found no memory are the end of their connection."""
    wrong = wrong_in("""
        class Reader(asyncio.Protocol):
            def __init__(self):
                self.came = b""
                self.lost = loop.create_future()
                self.all_came = loop.create_future()
            def data_received(self, data):
                allocations.disarm()
                self.came += data
                if len(self.came) == 40 and not self.all_came.done():
                    self.all_came.set_result(None)
            def connection_lost(self, exc):
                self.lost.set_result(exc)

        SENT = bytes(range(40))
        for number in each():
            one, other = socket.socketpair()
            transport, reader = run(loop.create_connection(Reader, sock=one)).result()
            other.send(SENT[:20])
            run_with_fault(number)
            with contextlib.suppress(BrokenPipeError):
                other.send(SENT[20:])
            run(asyncio.wait([reader.lost, reader.all_came], return_when="FIRST_COMPLETED", timeout=5))
            if reader.came != SENT and not (reader.lost.done() and SENT.startswith(reader.came)):
                wrong.append(f"{number}: {reader.came!r} came")
            transport.abort()
            run(reader.lost)
            other.close()
    """)
    assert wrong == []


def test_a_run_that_ends_for_want_of_memory_is_over() -> None:
    wrong = wrong_in("""
        for number in each():
            run_with_fault(number)
    """)
    assert wrong == []


def test_no_timer_is_lost() -> None:
    wrong = wrong_in("""
        for number in each():
            fired = []
            for timer in range(40):
                loop.call_later(0.0001 * (timer % 7), fired.append, timer)
            run_with_fault(number)
            run(asyncio.sleep(0.002))
            if len(fired) < 39:  # of one that could not be called there is a report
                wrong.append(f"{number}: {fired}")
    """)
    assert wrong == []


MANY = 300  # the interpreter has the numbers up to 256 ready: one above needs memory


def test_no_callback_of_many_is_lost() -> None:
    """Of this thread and of others, and timers: they are moved from list to list, and numbers count them."""
    wrong = wrong_in(f"""
        import threading

        def schedule(schedule_one):
            came = []
            for number in range({MANY}):
                schedule_one(came.append, number)
            return came

        def in_thread(callback, argument):
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(callback, argument))
            thread.start()
            thread.join()

        def schedule_in_thread():
            came = []
            thread = threading.Thread(target=lambda: came.append(schedule(loop.call_soon_threadsafe)))
            thread.start()
            thread.join()
            return came[0]

        for number in each(every=7):
            kinds = {{
                "soon": schedule(loop.call_soon),
                "thread": schedule_in_thread(),
                "timers": schedule(lambda callback, argument: loop.call_later(0.0001, callback, argument)),
            }}
            run_with_fault(number)
            run(asyncio.sleep(0.002))
            for kind, came in kinds.items():
                if came != sorted(set(came)) or len(came) < {MANY} - 1:  # of one that could not be called there is a report
                    wrong.append(f"{{number}}: {{kind}} {{len(came)}} {{sorted(set(range({MANY})) - set(came))}}")
    """)
    assert wrong == []


def test_no_event_is_lost() -> None:
    """An edge that the kernel has reported is not reported again by itself."""
    wrong = wrong_in("""
        pairs = [socket.socketpair() for _ in range(3)]
        for one, other in pairs:
            one.setblocking(False)
        for number in each():
            came = []

            def read(sock):
                sock.recv(10)
                came.append(sock)

            for one, other in pairs:
                loop.add_reader(one, read, one)
            run(asyncio.sleep(0))
            for one, other in pairs:
                other.send(b"x")
            run_with_fault(number)
            run(asyncio.sleep(0.001))
            if {sock.fileno() for sock in came} != {one.fileno() for one, _ in pairs}:
                wrong.append(f"{number}: {came}")
            for one, other in pairs:
                loop.remove_reader(one)
        for one, other in pairs:
            one.close()
            other.close()
    """)
    assert wrong == []


def test_the_status_of_a_child_is_not_lost() -> None:
    """waitpid(2) gives it once."""
    wrong = wrong_in("""
        from edgeloop.kernel import os_calls

        for number in each(every=17):
            process = run(asyncio.create_subprocess_exec("sleep", "100")).result()
            process.kill()
            os_calls.wait_until_ended(process.pid)
            run_with_fault(number)
            status = run(asyncio.wait_for(process.wait(), 5)).result()
            if status != -9:
                wrong.append(f"{number}: {status}")
    """)
    assert wrong == []


def test_timers_that_the_heap_has_no_room_for_wait() -> None:
    """Again and again: they stay where they are, and each runs once."""
    wrong = wrong_in("""
        for number in each(every=7):
            fired = []
            for _ in range(3):
                for timer in range(40):
                    loop.call_later(0, fired.append, timer)
                run_with_fault(number)
            run(asyncio.sleep(0.001))
            if len(fired) < 117 or len(fired) > 120:  # of one that could not be called there is a report, in each of the runs
                wrong.append(f"{number}: {len(fired)}")
    """)
    assert wrong == []


def test_a_connection_that_there_is_no_memory_for_is_closed() -> None:
    wrong = wrong_in("""
        def count():
            gc.collect()
            return len(os.listdir("/proc/self/fd"))

        async def serve():
            return await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)

        server = run(serve()).result()
        address = server.sockets[0].getsockname()
        for number in each():
            before = count()
            client = socket.create_connection(address)
            run_with_fault(number)
            client.close()
            for _ in range(200):
                run(asyncio.sleep(0.001))
                if count() == before:
                    break
            else:
                wrong.append(f"{number}: {count() - before} descriptors are left")
        server.close()
    """)
    assert wrong == []


def test_a_loop_that_there_is_no_memory_for_is_not_made() -> None:
    runs = lines_of("out_of_memory.py", "--runs", "4", "construction")
    assert [run["outcome"] for run in runs[1:-1]] == ["MemoryError()"] * 4
    assert not any(run["wrong"] for run in runs[:-1])


@pytest.mark.skipif(not WHOLE, reason="each allocation of each scenario, a process each: make weather")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_allocation_that_fails_does_no_other_harm(scenario: str) -> None:
    *runs, summary = lines_of("out_of_memory.py", scenario)
    assert summary["runs"] > 0
    failures = [described(scenario, run, run["wrong"]) for run in runs if run["wrong"]]
    assert not failures, "\n".join(failures)


def test_an_exception_whose_traceback_finds_no_memory_ends_no_process() -> None:
    """The second attempt to send raises BlockingIOError within the loop.

    Where the interpreter has no memory for a frame, in the pure edition, it forgets the exception and reports SystemError.
    """
    wrong = wrong_in("""
        for number in each():
            one, other = socket.socketpair()
            one.setblocking(False)
            other.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            task = loop.create_task(loop.sock_sendall(one, bytes(60_000)))
            run(asyncio.sleep(0))
            other.recv(60_000)
            run_with_fault(number)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, MemoryError, SystemError):
                run(task).result()
            one.close()
            other.close()
    """)
    assert wrong == []
