"""node_exporter's textfile: the one module that knows the Prometheus client library.

Rules of the textfile collector: ``*.prom`` only, whole or not at all, no timestamps on samples,
readable for whom node_exporter runs as. A file that stands beside it while it is written has another ending.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from ecrlogind.core.metrics import Kind, Metric
from ecrlogind.keeper.files import write_whole

_FAMILIES = {Kind.GAUGE: GaugeMetricFamily, Kind.COUNTER: CounterMetricFamily}


class _Given(Collector):
    """Hands the library what was found out elsewhere."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterator[Family]:
        for metric in self._metrics:
            family = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
            for labels, value in sorted(metric.samples.items()):
                family.add_metric(labels, value)
            yield family


def text(metrics: Iterable[Metric]) -> bytes:
    """Return *metrics* in the exposition format."""
    registry = CollectorRegistry()
    registry.register(_Given(metrics))
    return generate_latest(registry)


def write(path: Path, metrics: Iterable[Metric]) -> None:
    """Replace the textfile; raise OSError."""
    write_whole(path, text(metrics), 0o644)
