"""``edgeloop.metrics``: with the real prometheus_client and OpenTelemetry's SDK, scraped from threads while loops block."""

from __future__ import annotations

import asyncio
import gc
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

import edgeloop
from edgeloop.metrics import table, watched

prometheus_client = pytest.importorskip("prometheus_client", reason="has no release for this Python")
sdk = pytest.importorskip("opentelemetry.sdk.metrics", reason="has no release for this Python")

from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402
from prometheus_client import CollectorRegistry, generate_latest, start_http_server  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from edgeloop.metrics.opentelemetry import LOOP, LoopInstruments  # noqa: E402
from edgeloop.metrics.prometheus import LoopCollector  # noqa: E402

pytestmark = pytest.mark.edgeloop_only

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def samples(text: str) -> Samples:
    """What Prometheus would read: values by name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def while_blocked(loop: asyncio.AbstractEventLoop, ask: Callable[[], Any]) -> Any:
    """Return what ``ask`` returns in another thread, while a callback blocks the loop until then."""
    begun, asked = threading.Event(), threading.Event()
    found = []

    def block() -> None:
        begun.set()
        asked.wait()

    def asking() -> None:
        begun.wait()
        try:
            found.append(ask())
        finally:
            asked.set()

    thread = threading.Thread(target=asking)
    thread.start()
    loop.call_soon(block)
    loop.call_soon(loop.stop)
    loop.run_forever()
    thread.join()
    return found[0]


def test_a_scrape_is_answered_while_the_loop_is_blocked(loop: asyncio.AbstractEventLoop) -> None:
    registry = CollectorRegistry()
    collector = LoopCollector(registry)
    collector.add(loop, "main")
    server, thread = start_http_server(0, "127.0.0.1", registry=registry)
    try:
        loop.run_until_complete(asyncio.sleep(0.001))
        url = f"http://127.0.0.1:{server.server_port}/metrics"

        def scrape() -> str:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return str(answer.read().decode())

        found = samples(while_blocked(loop, scrape))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    main = (("loop", "main"),)
    assert found["asyncio_eventloop_blocked_seconds"][main] > 0
    assert found["asyncio_eventloop_timers_total"][main] == 1
    assert found["asyncio_eventloop_ready"][main] == 2
    assert found["asyncio_eventloop_time_seconds_total"][(("loop", "main"), ("state", "idle"))] > 0
    buckets = found["asyncio_eventloop_callback_seconds_bucket"]
    assert buckets[(("le", "+Inf"), ("loop", "main"))] == found["asyncio_eventloop_callback_seconds_count"][main] > 0
    by_bound = sorted((float(dict(labels)["le"]), value) for labels, value in buckets.items())
    assert [value for _, value in by_bound] == sorted(value for _, value in by_bound)


def test_every_figure_has_a_name_of_the_convention_and_a_unit() -> None:
    registry = CollectorRegistry()
    loop = edgeloop.new_event_loop()
    try:
        LoopCollector(registry).add(loop)
        text = generate_latest(registry).decode()
    finally:
        loop.close()
    found = samples(text)
    assert len(found) >= len(table.METRICS) + len(table.HISTOGRAMS)
    assert all(name.startswith("asyncio_eventloop_") for name in found)
    assert all(metric.unit for metric in table.METRICS)


def test_loops_come_and_go(loop: asyncio.AbstractEventLoop) -> None:
    registry = CollectorRegistry()
    collector = LoopCollector(registry)
    other = edgeloop.new_event_loop()

    def names() -> set[str]:
        turns = samples(generate_latest(registry).decode()).get("asyncio_eventloop_turns_total", {})
        return {dict(labels)["loop"] for labels in turns}

    assert names() == set()
    collector.add(loop, "one")
    collector.add(other)
    assert names() == {"one", edgeloop.stats(other).loop.partition("/")[2]}
    with pytest.raises(ValueError, match="another loop of the name 'one'"):
        collector.add(edgeloop_loop := edgeloop.new_event_loop(), "one")
    edgeloop_loop.close()
    with pytest.raises(ValueError, match="is there already"):
        collector.add(loop, "again")
    with pytest.raises(TypeError, match="needs a loop of edgeloop"):
        collector.add(None, "none")
    another = edgeloop.new_event_loop()
    collector.add(another, "another")
    collector.remove(another)
    another.close()
    other.close()
    assert names() == {"one"}
    assert edgeloop.stats(loop).measuring
    collector.remove(loop)
    collector.remove(loop)
    assert names() == set()
    assert not edgeloop.stats(loop).measuring


def test_a_collector_keeps_no_loop_alive() -> None:
    collector = LoopCollector(None)
    loop = edgeloop.new_event_loop()
    collector.add(loop)
    loop.close()
    del loop
    gc.collect()
    assert collector.snapshots() == []


def test_a_registry_refuses_a_second_collector_and_takes_another_after_the_first() -> None:
    registry = CollectorRegistry()
    first = LoopCollector(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        LoopCollector(registry)
    registry.unregister(first)
    LoopCollector(registry)


def points(reader: InMemoryMetricReader) -> dict[str, dict[tuple[tuple[str, Any], ...], float]]:
    data: Any = reader.get_metrics_data()
    return {
        metric.name: {tuple(sorted(point.attributes.items())): point.value for point in metric.data.data_points}
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_opentelemetry_collects_while_the_loop_is_blocked(loop: asyncio.AbstractEventLoop) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    instruments = LoopInstruments(provider.get_meter("test"))
    instruments.add(loop, "main")
    loop.run_until_complete(asyncio.sleep(0.001))
    found = while_blocked(loop, lambda: points(reader))
    provider.shutdown()
    main = ((LOOP, "main"),)
    assert found["asyncio.eventloop.blocked"][main] > 0
    assert found["asyncio.eventloop.timers"][main] == 1
    assert found["asyncio.eventloop.time"][((LOOP, "main"), (table.STATE, "active"))] > 0
    assert 0 < found["asyncio.eventloop.utilization"][main] <= 1
    assert found["asyncio.eventloop.delay.p99"][main] >= found["asyncio.eventloop.delay.p50"][main] >= 0
    assert found["asyncio.eventloop.callback.max"][main] > 0


def test_a_collection_that_takes_long_is_about_one_interval(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "MAX_AGE", 0.0)  # as if the exporter had waited for a processor between any two
    loops = watched.WatchedLoops()
    loops.add(loop, "main")
    loop.run_until_complete(asyncio.sleep(0))
    ((_, _, first),) = loops.snapshots("turns")
    ((_, _, second),) = loops.snapshots("callbacks")
    assert first == second and first.turns > 0
    loop.run_until_complete(asyncio.sleep(0))
    ((_, now, again),) = loops.snapshots("turns")
    assert 0 < again.turns < now.turns
    assert loops.snapshots("callbacks") == [("main", now, again)]
    loops.remove(loop)
