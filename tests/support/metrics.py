"""The naming rules of Prometheus, for the tables of series."""

from __future__ import annotations

import re

from cascade.metrics.series import Series

# what a gauge may end with: base units, what it counts in the plural, or a state of 0 and 1
NOT_BASE = re.compile(r"_(ms|milliseconds|minutes|hours|days|kb|mb|gb|mib|gib|percent|kilobytes)(_|$)")


def naming_faults(series: Series) -> list[str]:
    """Say which rules of prometheus.io/docs/practices/naming a series breaks."""
    faults = {
        "prefix": not re.fullmatch(r"streetvision_[a-z][a-z0-9_]*", series.name),
        "only counters end in _total": (series.kind == "counter") != series.name.endswith("_total"),
        "base units": bool(NOT_BASE.search(series.name)),
        "a timestamp is in seconds": "timestamp" in series.name and not series.name.endswith("_timestamp_seconds"),
        "a label's name is no part of the name": any(f"_by_{label}" in series.name for label in series.labels),
        "bounded labels": bool({"sha256", "image", "path", "key", "client", "run"} & set(series.labels)),
        "help": not series.text or series.text.endswith("."),
        "buckets": (series.kind == "histogram") != bool(series.buckets),
    }
    return [rule for rule, broken in faults.items() if broken]
