"""What all readers share: rows that cannot be used, and the split that a file's name tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.data.schema import SPLITS

# in this order, so that a picture that lies in two splits stays where it is measured and leaves where it is learned
ORDER = ("challenge", "calibration", "train", "pool")
# how other people's files call the part that is kept for measuring
STEMS = {"test": "challenge", "validation": "calibration", "val": "calibration", "valid": "calibration"}
STEMS |= {"training": "train"} | {name: name for name in SPLITS}


@dataclass(frozen=True)
class Rejected:
    """A row that cannot be used, for the quarantine report.

    Attributes:
        source: the file that it came from, with the line of a manifest.
        name: the image.
        reason: one word.
        detail: a sentence.
    """

    source: str
    name: str
    reason: str
    detail: str


def split_of(path: Path) -> str:
    """The split that a file's name tells: train.parquet, test-00000-of-00003.parquet; "" where it tells none."""
    return STEMS.get(path.stem.split("-")[0].lower(), "")
