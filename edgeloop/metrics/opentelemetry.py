"""Figures for OpenTelemetry: observable instruments. ``pip install edgeloop[opentelemetry]``.

    from edgeloop.metrics.opentelemetry import LoopInstruments

    instruments = LoopInstruments()
    instruments.add(asyncio.get_running_loop())

They are read when the MeterProvider's reader collects, in its thread, also while the loop is blocked. Whatever reads
OpenTelemetry gets them: OTLP, Prometheus, statsd by a collector. docs/watching.md has the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
except ImportError as exc:
    raise ImportError(
        "edgeloop.metrics.opentelemetry needs opentelemetry-api: pip install edgeloop[opentelemetry]"
    ) from exc

from .._version import __version__
from ..watching.histogram import Histogram
from . import table
from .watched import WatchedLoops

LOOP = f"{table.PREFIX}.name"

#: Observable instruments can't be histograms, so these are gauges of each collection, as nodejs.eventloop.delay's are.
SUMMARIES: dict[str, Callable[[Histogram], float]] = {
    "min": lambda histogram: histogram.min,
    "max": lambda histogram: histogram.max,
    "mean": lambda histogram: histogram.mean,
    "p50": lambda histogram: histogram.percentile(50),
    "p90": lambda histogram: histogram.percentile(90),
    "p99": lambda histogram: histogram.percentile(99),
}


class LoopInstruments(WatchedLoops):
    """The instruments of a meter, by default the global provider's, named "edgeloop". Each loop is an attribute's value."""

    def __init__(self, meter: Meter | None = None) -> None:
        super().__init__()
        meter = get_meter("edgeloop", __version__) if meter is None else meter
        for metric in table.METRICS:
            create = meter.create_observable_counter if metric.kind == table.COUNTER else meter.create_observable_gauge
            create(f"{table.PREFIX}.{metric.name}", [self._reader(metric)], metric.unit, metric.description)
        for field, description in table.HISTOGRAMS:
            for summary, of in SUMMARIES.items():
                meter.create_observable_gauge(
                    f"{table.PREFIX}.{field}.{summary}",
                    [self._summary(f"{field}.{summary}", field, of)],
                    "s",
                    f"{description}: {summary}",
                )

    def _reader(self, metric: table.Metric) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def read(options: CallbackOptions) -> Iterator[Observation]:
            for name, now, since in self.snapshots(metric.name):
                for attributes, value in metric.read(since if metric.of_interval else now):
                    yield Observation(value, {LOOP: name} | attributes)

        return read

    def _summary(
        self, instrument: str, field: str, of: Callable[[Histogram], float]
    ) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def read(options: CallbackOptions) -> Iterator[Observation]:
            for name, _, since in self.snapshots(instrument):
                yield Observation(of(getattr(since, field)), {LOOP: name})

        return read
