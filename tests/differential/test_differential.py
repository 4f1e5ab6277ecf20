"""Random programs do on edgeloop, in both editions, what they do on asyncio's own loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from agreement import Differential
from hypothesis import HealthCheck, Phase, given, settings
from programs_of_sockets import SOCKETS
from programs_of_the_loop import LOOPS
from programs_of_transports import TRANSPORTS

pytestmark = pytest.mark.edgeloop_only  # the workers choose their loops themselves

EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "60"))
random_programs = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def differential() -> Iterator[Differential]:
    found = Differential()
    found.start()
    yield found
    found.close()
    print(found.summary())


@random_programs
@given(program=TRANSPORTS)
def test_transports_and_their_protocols_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)


@random_programs
@given(program=LOOPS)
def test_callbacks_timers_and_tasks_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)


@random_programs
@given(program=SOCKETS)
def test_socket_calls_and_watchers_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)
