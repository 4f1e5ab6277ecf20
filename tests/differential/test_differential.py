"""Random programs do on edgeloop, in both editions, what they do on asyncio's own loop."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("hypothesis", reason="make differential installs it, apart")

from agreement import Differential
from hypothesis import HealthCheck, Phase, given, seed, settings
from programs_of_datagrams import DATAGRAMS
from programs_of_pipes import CHILDREN, PIPES
from programs_of_servers import SERVERS
from programs_of_sockets import SOCKETS
from programs_of_streams import STREAMS
from programs_of_the_loop import LOOPS
from programs_of_transports import TLS, TRANSPORTS

pytestmark = pytest.mark.edgeloop_only  # the workers choose their loops themselves

CAMPAIGN = "DIFFERENTIAL_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "20"))
SEED = int(os.environ.get("DIFFERENTIAL_SEED") or random.SystemRandom().randrange(1 << 32))
#: How long one kind of programs is played at most: what is left of them then is not.
SECONDS = float(os.environ.get("DIFFERENTIAL_SECONDS") or "inf")
#: What has failed is made shorter, which may take minutes; CI only says how to do that.
SHRINKS = os.environ.get("DIFFERENTIAL_SHRINK", "1") == "1"
Test = Callable[..., None]


def programs(share: float = 1.0) -> Callable[[Test], Test]:
    """How many random programs; a share of them, where each takes long."""
    chosen = settings(
        max_examples=max(1, int(EXAMPLES * share)),
        derandomize=not CAMPAIGN,  # a run of few programs only tells that the campaign still plays
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if SHRINKS else [])],
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: seed(SEED)(chosen(test)) if CAMPAIGN else chosen(test)


@pytest.fixture(scope="module")
def differential() -> Iterator[Differential]:
    found = Differential(f"make differential EXAMPLES={EXAMPLES} SEED={SEED}" if CAMPAIGN else "")
    print(f"\nthese programs again: {found.command}" if CAMPAIGN else "")
    found.start()
    yield found
    found.close()
    print(found.summary())


@pytest.fixture(autouse=True)
def limited(differential: Differential) -> None:
    """The time of a kind begins with its test."""
    differential.end = time.monotonic() + SECONDS


@programs()
@given(program=TRANSPORTS)
def test_transports_and_their_protocols_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)


@programs(0.5)
@given(program=TLS)
def test_tls_transports_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)


@programs()
@given(program=LOOPS)
def test_callbacks_timers_and_tasks_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)


@programs()
@given(program=SOCKETS)
def test_socket_calls_and_watchers_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)


@programs()
@given(program=STREAMS)
def test_streams_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)


@programs()
@given(program=SERVERS)
def test_servers_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)


@programs()
@given(program=DATAGRAMS)
def test_datagrams_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)


@programs()
@given(program=PIPES)
def test_pipes_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)


@programs(0.2)
@given(program=CHILDREN)
def test_subprocesses_agree(differential: Differential, program: dict[str, Any]) -> None:
    differential.check(program)
