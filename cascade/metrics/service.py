"""The series of one service, in a registry of their own: two services in one process do not mix.

A service is one process, so nothing has to be summed over workers; a second release beside it has a port of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from cascade.core.cascade import Prediction
from cascade.metrics.series import SERVICE, by_name
from cascade.metrics.textfiles import TextFiles
from cascade.stages.describe import StageStatus

TABLE = by_name(SERVICE)
TYPES = {"counter": Counter, "gauge": Gauge}


class Metrics:
    """What is counted while requests are answered; collectors add what can be read at any time.

    Args:
        folder: of the series that batch runs leave; None: none.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = self._add("streetvision_requests_total")
        self.in_progress = self._add("streetvision_requests_in_progress")
        self.request_seconds = self._add("streetvision_request_duration_seconds")
        self.stage_seconds = self._add("streetvision_stage_duration_seconds")
        self.exits = self._add("streetvision_cascade_exit_total")
        self.skipped = self._add("streetvision_stage_skipped_total")
        self.confidence = self._add("streetvision_confidence")
        self.cache_hits = self._add("streetvision_cache_hits_total")
        self.cache_misses = self._add("streetvision_cache_misses_total")
        self.cache_available = self._add("streetvision_cache_available")
        self.model_info = self._add("streetvision_model_info")
        self.ready = self._add("streetvision_ready")
        self._add("streetvision_build_info").labels(version("streetvision-cascade")).set(1)
        # a rate over a series that appears with its first event misses that event
        for outcome in ("answered", "internal"):
            self.requests.labels(outcome)
        self.collect(TextFiles(folder))

    def _add(self, name: str) -> Any:
        row = TABLE[name]
        if row.kind == "histogram":
            return Histogram(row.name, row.text, row.labels, buckets=row.buckets, registry=self._registry)
        return TYPES[row.kind](row.name.removesuffix("_total"), row.text, row.labels, registry=self._registry)

    def limits(self, *, requests: int, deadline_seconds: float) -> None:
        """Show what alerts compare with."""
        self._add("streetvision_requests_limit").set(requests)
        self._add("streetvision_request_deadline_seconds").set(deadline_seconds)

    def collect(self, collector: Any) -> None:
        """Add series that are read when somebody asks: `collector.collect()` gives families."""
        self._registry.register(collector)

    def loaded(self, release: str, stages: Sequence[StageStatus]) -> None:
        """Note what is served now.

        Args:
            release: id.
            stages: of the release as it is served; those that are off do not count.
        """
        for stage in stages:
            if stage.on:
                runs = (stage.engine or "", stage.device or "", stage.precision or "")
                self.model_info.labels(release, stage.name, *runs).set(1)
        self.ready.set(1)

    def answered(self, answers: Sequence[Prediction], *, cache: bool = False) -> None:
        """Count the images of one request; `cache` is whether the cache was asked for them."""
        for answer in answers:
            self.exits.labels(answer.decided_by, answer.label).inc()
            self.confidence.observe(max(answer.probability, 1 - answer.probability))
            if answer.cached:
                # its milliseconds are those of the request that was not cached
                self.cache_hits.inc()
                continue
            if cache:
                self.cache_misses.inc()
            self._count_stages(answer)

    def _count_stages(self, answer: Prediction) -> None:
        for seen in answer.stages:
            if seen.skipped is not None:
                self.skipped.labels(seen.stage, seen.skipped).inc()
            else:
                self.stage_seconds.labels(seen.stage).observe(seen.milliseconds / 1000)

    def text(self) -> bytes:
        """Give all series in Prometheus' text format."""
        return bytes(generate_latest(self._registry))
