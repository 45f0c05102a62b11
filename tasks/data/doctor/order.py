"""Files in which the label follows from the position: whoever takes the first thousand rows gets one class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tasks.data.doctor.findings import Finding, listed
from tasks.data.examine import Facts

ORDERED = (".parquet", ".csv")  # files whose rows have an order of their own; a class folder has one label by design
FEWEST = 20  # rows of which order can be told from chance
# runs of one label against those of a shuffled file; drives of 20 frames with one label each are at 0.1
MAX_RUNS = 0.05


def check_order(pictures: Sequence[Facts]) -> list[Finding]:
    """Data files that are sorted by label, or hold one label alone while the set has both."""
    sequences: dict[str, list[Facts]] = defaultdict(list)
    for one in pictures:
        if Path(one.origin).suffix in ORDERED:
            sequences[_series(Path(one.origin))].append(one)
    labels = {one.label for one in pictures}
    in_order = [name for name, rows in sequences.items() if _is_sorted(rows)]
    one_label = [
        name for name, rows in sequences.items() if len(rows) >= FEWEST and {row.label for row in rows} != labels
    ]
    found = []
    if in_order:
        message = f"sorted by label: {listed(in_order)}; the first rows are one class, so shuffle before you take some"
        found.append(Finding("warning", "order", message))
    if one_label and len(labels) > 1:
        message = f"one label alone: {listed(one_label)}; what else differs between files then tells the label"
        found.append(Finding("warning", "order", message))
    return found


def _series(path: Path) -> str:
    """Shards of one split are one sequence: train-00000-of-00006.parquet is part of train-*.parquet."""
    stem, _, rest = path.stem.partition("-")
    return str(path.with_name(f"{stem}-*{path.suffix}")) if rest else str(path)


def _is_sorted(rows: Sequence[Facts]) -> bool:
    positive = sum(row.label for row in rows)
    negative = len(rows) - positive
    if len(rows) < FEWEST or not positive or not negative:
        return False
    runs = 1 + sum(a.label != b.label for a, b in pairwise(rows))
    # of a shuffled sequence (Wald and Wolfowitz 1940)
    expected = 1 + 2 * positive * negative / len(rows)
    return runs <= max(2.0, MAX_RUNS * expected)
