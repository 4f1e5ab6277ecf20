"""Figures for Prometheus: a collector of ``prometheus_client``. ``pip install edgeloop[prometheus]``.

    from edgeloop.metrics.prometheus import LoopCollector

    collector = LoopCollector()
    collector.add(asyncio.get_running_loop())

What serves the registry (``prometheus_client.start_http_server``, ``make_asgi_app``) serves these too. A scrape in another
thread is answered while the loop is blocked. docs/watching.md has the names.
"""

from __future__ import annotations

from collections.abc import Iterator

try:
    from prometheus_client.core import (
        REGISTRY,
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector, CollectorRegistry
except ImportError as exc:
    raise ImportError("edgeloop.metrics.prometheus needs prometheus_client: pip install edgeloop[prometheus]") from exc

from ..watching import layout
from ..watching.histogram import Histogram
from . import table
from .watched import WatchedLoops

#: Bounds of the buckets, in seconds, from a microsecond to 17 seconds, each four times the one below: those of layout.py lie
#: between them, so that none is cut.
BOUNDS = tuple((1 << bits) * 1e-9 for bits in range(10, 35, 2))
_INDEXES = tuple(layout.bucket(1 << bits) for bits in range(10, 35, 2))

_SUFFIXES = {"s": "_seconds", "By": "_bytes", "1": "_ratio"}


def metric_name(name: str, unit: str) -> str:
    """Return the name that OpenTelemetry's own exporter would make of it."""
    return f"{table.PREFIX}.{name}".replace(".", "_") + _SUFFIXES.get(unit, "")


def cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    """Return Prometheus' buckets: how many values are below each bound."""
    counts = [(repr(bound), float(sum(histogram.buckets[:last]))) for bound, last in zip(BOUNDS, _INDEXES, strict=True)]
    return [*counts, ("+Inf", float(histogram.count))]


class LoopCollector(WatchedLoops, Collector):
    """Registers itself with a registry, by default prometheus_client's own (None: none). The label ``loop`` is the name."""

    def __init__(self, registry: CollectorRegistry | None = REGISTRY) -> None:
        super().__init__()
        if registry is not None:
            registry.register(self)

    def describe(self) -> list[Metric]:
        """Return what there would be with a loop: a registry refuses two collectors with the same names."""
        return [*(self._family(metric) for metric in table.METRICS), *map(self._histogram, table.HISTOGRAMS)]

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of all loops."""
        snapshots = self.snapshots()
        for metric in table.METRICS:
            family = self._family(metric)
            for name, now, since in snapshots:
                for attributes, value in metric.read(since if metric.of_interval else now):
                    labels = [name, *attributes.values()]
                    family.add_metric(labels, value)
            yield family
        for field, description in table.HISTOGRAMS:
            histograms = self._histogram((field, description))
            for name, now, _ in snapshots:
                found: Histogram = getattr(now, field)
                histograms.add_metric([name], buckets=cumulative(found), sum_value=found.sum)
            yield histograms

    def _family(self, metric: table.Metric) -> CounterMetricFamily | GaugeMetricFamily:
        kind = CounterMetricFamily if metric.kind == table.COUNTER else GaugeMetricFamily
        labels = ["loop", *(attribute.rpartition(".")[2] for attribute in metric.attributes)]
        return kind(metric_name(metric.name, metric.unit), metric.description, labels=labels)

    def _histogram(self, described: tuple[str, str]) -> HistogramMetricFamily:
        field, description = described
        return HistogramMetricFamily(metric_name(field, "s"), description, labels=["loop"])
