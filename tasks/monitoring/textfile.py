"""Series of batch runs as text files in Prometheus' format, `var/metrics/*.prom`, which the service exposes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade.metrics.series import Series
from cascade.metrics.textfiles import SUFFIX
from tasks.common.files import write_bytes

# values by tuples of label values, in the order of the series' table; one without labels has the empty tuple (keys of a
# Mapping are invariant, so tuples of one length would not fit tuple[str, ...])
Samples = Mapping[Series, Mapping[Any, float]]


def write(folder: Path, name: str, samples: Samples) -> Path:
    """Write a file of series in one step: a scrape sees the old one or the new one.

    A value that is not there is left out, since a series that ends tells more than a made-up figure.

    Args:
        folder: is made where it is missing.
        name: of the file, without its suffix; a run replaces its own.
        samples: values by series and labels.

    Raises:
        ValueError: the number of label values is not that of the series' labels.
        OSError: it cannot be written.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Fixed(samples))
    path = folder / f"{name}{SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(path, generate_latest(registry))
    return path


class _Fixed:
    """A collector of values that do not change."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Any]:
        for series, values in self._samples.items():
            family = series.family()
            for labels, value in values.items():
                if len(labels) != len(series.labels):
                    raise ValueError(f"{series.name}: labels {series.labels}, values {labels}")
                family.add_metric(list(labels), value)
            if values:
                yield family
