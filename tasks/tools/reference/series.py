"""The page of the series that Prometheus reads, from the tables that the exporters use."""

from __future__ import annotations

from collections.abc import Iterable

from cascade.metrics.series import SERVICE, Series
from tasks.monitoring.series import PIPELINE
from tasks.tools.reference.tables import escaped, table

HEAD = """# Series

Made from the tables of the exporters by `python -m tasks.tools.reference`; do not edit it. Names follow
[Prometheus' rules](https://prometheus.io/docs/practices/naming/): base units, `_total` for counters, times as
timestamps, no label with many values. The service adds `process_*` of its Python client.
[Monitoring](../monitoring.md) says where they come from, and what to do when an alert fires.
"""


def series_page() -> str:
    """All series: those of the service, and those of batch runs."""
    return f"{HEAD}\n## Of the service\n\n{_rows(SERVICE)}\n\n## Of batch runs\n\n{_rows(PIPELINE)}\n"


def _rows(series: Iterable[Series]) -> str:
    rows = [
        [f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), escaped(one.text)]
        for one in series
    ]
    return table(["series", "type", "labels", "meaning"], rows)
