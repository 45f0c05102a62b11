"""Prometheus metrics of the service, in a registry of their own: two services in one process do not mix."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from cascade.core.cascade import Cascade, Prediction

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
