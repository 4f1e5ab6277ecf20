"""edgeloop in a subinterpreter: Cython's modules can't be loaded there, so the pure edition runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from interpreters import needs_subinterpreters
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only

KINDS = ["legacy", "isolated"] if sys.version_info >= (3, 12) else ["legacy"]  # 3.11 has no threads in isolated ones

IN_THE_OTHER = """
import warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import asyncio, edgeloop, socket
print(edgeloop.EDITION, *(warning.category.__name__ for warning in said))

async def echo(reader, writer):
    writer.write(await reader.readline())
    writer.close()

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\\n")
    print(await reader.read(), await asyncio.to_thread(sum, [1, 2]))
    writer.close()
    server.close()
    await asyncio.sleep(0.001)

edgeloop.run(main())
"""

# The names of the module and of its arguments have changed with each Python.
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
if {first!r} == "main":
    import edgeloop
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    other = interpreters.create({kind!r})
    failure = interpreters.run_string(other, {inside!r})
    assert failure is None, failure
else:
    import _xxsubinterpreters as interpreters
    other = interpreters.create(isolated={kind!r} == "isolated")
    interpreters.run_string(other, {inside!r})
interpreters.destroy(other)
import asyncio, edgeloop
print(edgeloop.EDITION)
edgeloop.run(asyncio.sleep(0))
if sys.version_info < (3, 13) and {kind!r} == "isolated":
    import os
    sys.stdout.flush()
    os._exit(0)  # 3.12.1 frees memory twice at its end, where an isolated interpreter has imported asyncio
"""


def run(kind: str, first: str, **environment: str) -> list[str]:
    inside = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n" + IN_THE_OTHER
    env = {name: value for name, value in os.environ.items() if name != "EDGELOOP_PURE"}
    program = PROGRAM.format(root=str(ROOT), kind=kind, first=first, inside=inside)
    done = subprocess.run(
        [sys.executable, "-c", program], env=env | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@needs_subinterpreters
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", ["main", "other"])
def test_a_subinterpreter_has_the_pure_edition_and_leaves_the_main_one_its_own(kind: str, first: str) -> None:
    compiled = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import edgeloop; print(edgeloop.EDITION)"],
        env={name: value for name, value in os.environ.items() if name != "EDGELOOP_PURE"} | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert run(kind, first) == ["pure RuntimeWarning", "b'hello\\n' 3", compiled]


@needs_subinterpreters
@pytest.mark.parametrize("kind", KINDS)
def test_a_subinterpreter_is_quiet_where_pure_was_asked_for(kind: str) -> None:
    assert run(kind, "main", EDGELOOP_PURE="1") == ["pure", "b'hello\\n' 3", "pure"]
