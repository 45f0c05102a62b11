"""Series that batch runs left as text, `<folder>/*.prom`, merged into those of the service.

The service exposes them because its address, its key and its loopback rule exist already. node-exporter would need a
package, root and an address of its own for the same files, and Pushgateway keeps what nobody updates any more.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from cascade.metrics.series import SERVICE, Series, by_name

SUFFIX = ".prom"
# a batch writes a few kilobytes; a larger file is not one of ours
MAX_BYTES = 1_000_000
PREFIX = "streetvision_"
# families of the service itself, which no file may repeat: two samples of one series are an error for Prometheus
RESERVED = frozenset(one.name.removesuffix("_total") for one in SERVICE)
log = logging.getLogger("streetvision")


class TextFiles:
    """Collector of the files in a folder, read at each scrape.

    Args:
        folder: None, or a folder that is not there: no series but the count of damaged files.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._complained: set[str] = set()

    def collect(self) -> Iterator[Any]:
        """Give one family a name, with the samples of all files."""
        table = by_name(SERVICE)
        modified = table["streetvision_textfile_modified_timestamp_seconds"].family()
        damaged, families = 0, dict[str, Any]()
        for path in self._files():
            try:
                found, when = read(path), path.stat().st_mtime
            except (OSError, ValueError) as error:
                damaged += 1
                self._complain(path, error)
                continue
            modified.add_metric([path.stem], when)
            for family in found:
                known = families.setdefault(family.name, family)
                if known is not family:
                    _merge(known, family.samples)
        yield modified
        yield _single(table["streetvision_textfile_unreadable_files"], damaged)
        yield from families.values()

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{SUFFIX}")) if self._folder and self._folder.is_dir() else []

    def _complain(self, path: Path, error: Exception) -> None:
        """Once a file: Prometheus asks every few seconds."""
        if path.name not in self._complained:
            self._complained.add(path.name)
            log.warning("%s is not exposed: %s", path, error)


def read(path: Path) -> list[Any]:
    """Parse a file of series.

    Raises:
        ValueError: it is too large, is no text of Prometheus, or has a series that is not ours or is the service's.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    try:
        found = list(text_string_to_metric_families(data.decode("utf-8")))
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"not Prometheus' text format: {error}") from None
    for family in found:
        if not family.name.startswith(PREFIX) or family.name in RESERVED:
            raise ValueError(f"{family.name}: a file may hold series of the pipeline alone")
    return found


def _merge(known: Any, samples: Collection[Any]) -> None:
    """Add samples of a further file; of a series that both have, the first one stays."""
    there = {(one.name, tuple(sorted(one.labels.items()))) for one in known.samples}
    known.samples.extend(one for one in samples if (one.name, tuple(sorted(one.labels.items()))) not in there)


def _single(series: Series, value: float) -> Any:
    family = series.family()
    family.add_metric([], value)
    return family
