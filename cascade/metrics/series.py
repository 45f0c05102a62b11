"""The series that Prometheus reads, as tables: exporters, docs and the checks of alerts and dashboards use them.

Names follow Prometheus' rules (prometheus.io/docs/practices/naming): one prefix, base units, `_total` for counters
alone, and labels with few values; an image, a key or a client is never a label.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Series:
    """One series.

    Attributes:
        name: as Prometheus stores it; a histogram adds `_bucket`, `_sum` and `_count`.
        text: of its HELP line.
        labels: in the order in which values are given.
        buckets: upper edges of a histogram.
    """

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def stored_names(self) -> tuple[str, ...]:
        """The names that a query may ask for."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{end}" for end in ("bucket", "sum", "count"))
        return (self.name,)

    def family(self) -> Any:
        """An empty family of `prometheus_client` for a collector; counters and gauges."""
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        return kind(self.name.removesuffix("_total"), self.text, labels=self.labels)


def by_name(table: Collection[Series]) -> dict[str, Series]:
    """The rows of a table by name."""
    return {one.name: one for one in table}


# seconds; the subnet's limit is 9
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 9.0)
CONFIDENCE = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.95, 0.99, 1.0)

SERVICE = (
    Series("streetvision_build_info", "gauge", "1 for the version of this package", ("version",)),
    Series("streetvision_ready", "gauge", "1 once the cascade is loaded and warm, 0 while it drains"),
    Series(
        "streetvision_model_info",
        "gauge",
        "1 for each stage that the release runs",
        ("release", "stage", "engine", "device", "precision"),
    ),
    Series(
        "streetvision_stage_device_info",
        "gauge",
        "1 for each loaded stage: what it computes on and in, by its own account",
        ("stage", "device", "precision"),
    ),
    Series(
        "streetvision_stage_off_gpu", "gauge", "1 for a stage of memory.gpu_stages on the processor, else 0", ("stage",)
    ),
    Series("streetvision_requests_total", "counter", "Requests for a prediction: answered, or why not", ("outcome",)),
    Series("streetvision_requests_in_progress", "gauge", "Requests being read, waiting or answered"),
    Series("streetvision_requests_queued", "gauge", "Requests that wait for a worker, by what they send", ("lane",)),
    Series("streetvision_requests_limit", "gauge", "Requests at once, beyond which a further one gets 503"),
    Series(
        "streetvision_request_duration_seconds", "histogram", "From headers to answer, refusals too", buckets=SECONDS
    ),
    Series("streetvision_request_deadline_seconds", "gauge", "Time after which a request gets 503"),
    Series(
        "streetvision_stage_duration_seconds",
        "histogram",
        "Wall time of the batch an image went through a stage in",
        ("stage",),
        SECONDS,
    ),
    Series("streetvision_stage_skipped_total", "counter", "Images that a stage was skipped for", ("stage", "cause")),
    Series("streetvision_cascade_exit_total", "counter", "Images by deciding stage and label", ("stage", "label")),
    Series("streetvision_confidence", "histogram", "max(p, 1 - p) of every image, 0.5 to 1", buckets=CONFIDENCE),
    Series("streetvision_cache_hits_total", "counter", "Images answered from the cache, not by a stage"),
    Series("streetvision_cache_misses_total", "counter", "Images that the cache was asked for and did not hold"),
    Series("streetvision_cache_available", "gauge", "1 while the cache of answers can be used"),
    Series(
        "streetvision_host_memory_used_bytes", "gauge", "RAM that loading a stage took, 0 while absent", ("stage",)
    ),
    Series("streetvision_host_memory_limit_bytes", "gauge", "RAM that all stages together may take"),
    Series("streetvision_host_memory_available_bytes", "gauge", "RAM that a further process could take"),
    Series(
        "streetvision_gpu_memory_used_bytes", "gauge", "GPU memory that a stage takes, 0 while absent", ("stage",)
    ),
    Series("streetvision_gpu_memory_limit_bytes", "gauge", "GPU memory that all stages together may take"),
    Series("streetvision_gpu_device_memory_used_bytes", "gauge", "Memory in use on a GPU, by anybody", ("device",)),
    Series("streetvision_gpu_device_memory_size_bytes", "gauge", "Memory of a GPU", ("device",)),
    Series("streetvision_gpu_temperature_celsius", "gauge", "Temperature of a GPU", ("device",)),
    Series("streetvision_gpu_utilization_ratio", "gauge", "Share of time that a GPU was at work, 0 to 1", ("device",)),
    Series("streetvision_decoders", "gauge", "Decoding processes there may be", ("lane",)),
    Series("streetvision_decoders_busy", "gauge", "Decoding processes at work", ("lane",)),
    Series(
        "streetvision_decoders_ended_total",
        "counter",
        "Decoding processes that were ended, and why",
        ("lane", "reason"),
    ),
    Series("streetvision_inbox_pictures_total", "counter", "Pictures offered for mining, by outcome", ("outcome",)),
    Series(
        "streetvision_textfile_modified_timestamp_seconds", "gauge", "When a file of batches was written", ("file",)
    ),
    Series("streetvision_textfile_unreadable_files", "gauge", "Files of batch series that are damaged"),
)  # fmt: skip
