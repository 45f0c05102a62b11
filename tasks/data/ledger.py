"""What became of every row that a pull read: kept, counted as a duplicate, or listed with its reason."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.common.files import write_bytes
from tasks.data.examine import Facts
from tasks.data.readers import Rejected
from tasks.data.readers.splits import BOTH_CLASSES, split_of_place
from tasks.data.schema import SPLITS, DataError, ImageRow


@dataclass
class Ledger:
    """What became of every row that was read.

    Attributes:
        rejected: rows that cannot be used.
        duplicates: rows whose bytes came before, with the same label.
        facts: of the rows that are kept, by digest, in reading order.
        chosen: digests of those whose split was ours to choose.
    """

    rejected: list[Rejected] = field(default_factory=list)
    duplicates: int = 0
    facts: dict[str, Facts] = field(default_factory=dict)
    chosen: set[str] = field(default_factory=set)
    _labels: dict[str, int] = field(default_factory=dict)
    _homes: dict[str, str] = field(default_factory=dict)

    def accept(self, row: ImageRow, facts: Facts) -> ImageRow | None:
        """Give the row with its split; None for a duplicate, and for one whose twin has the other label.

        Raises:
            DataError: the row's place lies in another split already.
        """
        known = self._labels.get(row.sha256)
        if known is not None and known != row.label:
            detail = f"the same bytes came before with label {known}"
            self.rejected.append(Rejected(row.origin or row.source, row.name, "conflicting_label", detail))
            return None
        if known is not None:
            self.duplicates += 1
            return None
        row = row if row.split else row.in_split(split_of_place(row.place), chosen=row.chosen)
        home = self._homes.setdefault(row.place, row.split)
        if home != row.split:
            raise DataError(
                f"place {row.place!r} lies in {home} and in {row.split} ({row.name}); a place has one split"
            )
        self._labels[row.sha256] = row.label
        self.facts[row.sha256] = replace(facts, split=row.split)
        if row.chosen:
            self.chosen.add(row.sha256)
        return row

    def of_split(self, split: str) -> list[Facts]:
        """The facts of one split, in reading order."""
        return [one for one in self.facts.values() if one.split == split]

    def remove(self, rejected: dict[str, Rejected]) -> None:
        """Take rows back that were kept, by their digests."""
        for digest in rejected:
            self.facts.pop(digest, None)
        self.rejected += rejected.values()

    def check_classes(self) -> None:
        """Refuse a split without both labels.

        Raises:
            DataError: names the split, and the first row that was unusable.
        """
        for split in BOTH_CLASSES:
            works, clear = self._count(split, 1), self._count(split, 0)
            if not clear or not works:
                raise DataError(
                    f"split {split} has {works} roadwork and {clear} clear images; it needs both ({self.hint})"
                )

    @property
    def hint(self) -> str:
        """How many rows were unusable, and the first of them."""
        first = f", the first: {self.rejected[0].name}: {self.rejected[0].detail}" if self.rejected else ""
        return f"{len(self.rejected)} rows were unusable{first}"

    def counts(self) -> dict[str, Any]:
        """Figures for the report."""
        splits = {
            split: {
                "roadwork": self._count(split, 1),
                "none": self._count(split, 0),
                "places": len({one.place for one in self.of_split(split)}),
            }
            for split in SPLITS
        }
        reasons = dict(Counter(item.reason for item in self.rejected))
        return {**splits, "duplicates": self.duplicates, "quarantined": len(self.rejected), "reasons": reasons}

    def _count(self, split: str, label: int) -> int:
        return sum(one.label == label for one in self.of_split(split))


def write_quarantine(path: Path, rejected: Iterable[Rejected]) -> None:
    """Write the rows that cannot be used as CSV: source, name, reason, detail."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "name", "reason", "detail"])
    writer.writerows([item.source, item.name, item.reason, item.detail] for item in rejected)
    write_bytes(path, text.getvalue().encode())
