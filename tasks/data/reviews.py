"""Reviews of mined pictures by people: data/reviews/<batch>.csv, one line a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cascade.probability import LABEL_NUMBERS
from tasks.common.files import write_bytes
from tasks.data.schema import DataError

REVIEWS = Path("data/reviews")
COLUMNS = ("sha256", "decision", "label", "reviewer", "batch")
# accept: what the model proposed is right. relabel: it is wrong. reject: the picture is of no use.
DECISIONS = ("accept", "reject", "relabel")


@dataclass(frozen=True)
class Review:
    """One person's decision on one picture.

    Attributes:
        decision: one of DECISIONS.
        label: 0 none, 1 roadwork, as the reviewer saw it; None where the picture is rejected.
    """

    sha256: str
    decision: str
    label: int | None
    reviewer: str
    batch: str


def read_reviews(folder: Path = REVIEWS) -> dict[str, Review]:
    """Read all files of a folder, by the pictures' digests; the same decision twice counts once.

    Raises:
        DataError: a column is missing, a line makes no sense, or two lines give one picture different labels; the
            message names files and lines.
    """
    reviews: dict[str, Review] = {}
    places: dict[str, str] = {}
    for file in sorted(folder.glob("*.csv")):
        for place, review in read_file(file):
            first = reviews.setdefault(review.sha256, review)
            if first.label != review.label:
                raise DataError(
                    f"{places[review.sha256]} gives picture {review.sha256} {_decision(first)}, {place} gives it "
                    f"{_decision(review)}: remove one of the two lines"
                )
            places.setdefault(review.sha256, place)
    return reviews


def read_file(file: Path) -> list[tuple[str, Review]]:
    """Read one file: the place of each line, for messages, and its review.

    Raises:
        DataError: names the file, the line and what is wrong with it.
    """
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise DataError(f"{file}: missing column {', '.join(map(repr, missing))}")
        return [(f"{file}:{reader.line_num}", _review(line, f"{file}:{reader.line_num}")) for line in reader]


def write_file(file: Path, reviews: Iterable[Review]) -> None:
    """Write one file in one step, in order of digest, so that the same reviews give the same bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in sorted(reviews, key=lambda review: review.sha256):
        writer.writerow([one.sha256, one.decision, "" if one.label is None else one.label, one.reviewer, one.batch])
    write_bytes(file, text.getvalue().encode())


def _review(line: dict[str, str | None], place: str) -> Review:
    # a line that ends early has None for what it lacks
    digest, decision, label, reviewer, batch = ((line[name] or "").strip() for name in COLUMNS)
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise DataError(f"{place}: sha256 is {digest!r}; expected 64 hexadecimal digits in small letters")
    if decision not in DECISIONS:
        raise DataError(f"{place}: decision is {decision!r}; expected one of {', '.join(DECISIONS)}")
    if decision == "reject":
        return Review(digest, decision, None, reviewer, batch)
    if label.lower() not in LABEL_NUMBERS:
        raise DataError(f"{place}: label is {label!r}; {decision} needs one of {', '.join(LABEL_NUMBERS)}")
    return Review(digest, decision, LABEL_NUMBERS[label.lower()], reviewer, batch)


def _decision(review: Review) -> str:
    return "reject" if review.label is None else f"label {review.label}"
