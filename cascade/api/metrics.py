"""Prometheus metrics of the service, in a registry of their own: two services in one process do not mix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from cascade.core.cascade import Cascade, Prediction
from cascade.decoding.pool import Decoders
from cascade.decoding.process import ENDED

# seconds; the subnet's limit is 9
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 9.0)
CONFIDENCE = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.95, 0.99, 1.0)


class Metrics:
    """All series of one service."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "streetvision_requests", "Requests to /v1/predict: answered, or why not", ["outcome"], registry=registry
        )
        self.in_progress = Gauge(
            "streetvision_requests_in_progress", "Requests being read or answered", registry=registry
        )
        self.request_seconds = Histogram(
            "streetvision_request_duration_seconds", "From headers to answer", buckets=SECONDS, registry=registry
        )
        self.stage_seconds = Histogram(
            "streetvision_stage_duration_seconds",
            "Wall time of the batch an image went through a stage in",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.exits = Counter(
            "streetvision_cascade_exit", "Images by deciding stage and label", ["stage", "label"], registry=registry
        )
        self.skipped = Counter(
            "streetvision_stage_skipped", "Images that a stage was left out for", ["stage"], registry=registry
        )
        self.confidence = Histogram(
            "streetvision_confidence", "max(p, 1 - p) of every image", buckets=CONFIDENCE, registry=registry
        )
        self.stage_memory = Gauge(
            "streetvision_stage_memory_bytes", "Memory that loading a stage took", ["stage"], registry=registry
        )
        self.model_info = Gauge(
            "streetvision_model_info", "1 for what is served", ["release", "engine", "precision"], registry=registry
        )
        self.cache_hits = Counter(
            "streetvision_cache_hits", "Images answered from the cache, not by a stage", registry=registry
        )
        self.cache_available = Gauge(
            "streetvision_cache_available", "1 while the cache of answers can be used", registry=registry
        )
        self.ready = Gauge("streetvision_ready", "1 once the cascade is loaded and warm", registry=registry)

    def watch(self, decoders: Decoders) -> None:
        """Show how many decoding processes are at work, and how many had to be ended."""
        self._registry.register(_DecoderMetrics(decoders))

    def loaded(self, cascade: Cascade) -> None:
        """Note what is served now."""
        engine = cascade.classifier.engine
        self.model_info.labels(cascade.release.id, engine.name, engine.precision).set(1)
        for stage in cascade.stages:
            self.stage_memory.labels(stage.name).set(stage.memory_bytes)
        self.ready.set(1)

    def answered(self, answers: Sequence[Prediction]) -> None:
        """Count the images of one request."""
        for answer in answers:
            self.exits.labels(answer.decided_by, answer.label).inc()
            self.confidence.observe(max(answer.probability, 1 - answer.probability))
            if answer.cached:
                # its milliseconds are those of the request that was not cached
                self.cache_hits.inc()
                continue
            self._count_stages(answer)

    def _count_stages(self, answer: Prediction) -> None:
        for seen in answer.stages:
            if seen.skipped is not None:
                self.skipped.labels(seen.stage).inc()
            else:
                self.stage_seconds.labels(seen.stage).observe(seen.milliseconds / 1000)

    def text(self) -> bytes:
        """Give all series in Prometheus' text format."""
        return bytes(generate_latest(self._registry))


class _DecoderMetrics:
    """Reads the counters of the decoders when somebody asks for them."""

    def __init__(self, decoders: Decoders) -> None:
        self._decoders = decoders

    def collect(self) -> Iterator[Metric]:
        """Give the series by lane, pictures or clips."""
        busy = GaugeMetricFamily("streetvision_decoders_busy", "Decoding processes at work", labels=["lane"])
        most = GaugeMetricFamily("streetvision_decoders", "Decoding processes there may be", labels=["lane"])
        ended = CounterMetricFamily(
            "streetvision_decoders_ended",
            "Decoding processes that were ended: too_slow, crashed, or stopped with a clip that was given up",
            labels=["lane", "reason"],
        )
        for name, lane in self._decoders.lanes.items():
            busy.add_metric([name], lane.busy)
            most.add_metric([name], lane.size)
            for reason in ENDED:
                ended.add_metric([name, reason], lane.ended[reason])
        yield from (busy, most, ended)
