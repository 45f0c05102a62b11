"""Whole pictures through the code path of the service: golden pictures, and hard cases that were once fixed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade.preprocess.image import BadImage
from cascade.probability import CUT
from cascade.release.store import Release, read_classifier
from cascade.stages.classifier import ClassifierStage
from tasks.common.files import sha256, write_bytes
from tasks.config import Params
from tasks.data.batches import BATCH, HARD_CASES, MINED, find_batches
from tasks.data.pictures import decode_stored
from tasks.data.reviews import REVIEWS, read_reviews
from tasks.data.schema import read_records
from tasks.release.gate.report import Case, Check, GateReport
from tasks.release.gate.store import entry_file, kept_json
from tasks.release.smoke_test import golden_images

COLUMNS = ("sha256", "label", "release")
BATCH_PICTURES = 16


@dataclass(frozen=True)
class HardCasePaths:
    """Where reviewed hard cases lie; see `tasks.data.labelled`."""

    mined: Path = MINED
    hard_cases: Path = HARD_CASES
    reviews: Path = REVIEWS

    def below(self, tree: Path) -> HardCasePaths:
        """The same folders in `tree`; absolute ones stay."""
        return HardCasePaths(tree / self.mined, tree / self.hard_cases, tree / self.reviews)


@dataclass(frozen=True)
class Picture:
    """A labelled picture: sha256 of its file, label 0 or 1, and the file's bytes."""

    key: str
    label: int
    data: bytes


def golden_pictures(challenge: Path, count: int) -> list[Picture]:
    """The first pictures of the challenge set, of both labels by turns."""
    return [
        Picture(sha256(one.data), int(one.label == "roadwork"), one.data) for one in golden_images(challenge, count)
    ]


def hard_pictures(paths: HardCasePaths) -> list[Picture]:
    """The pictures of all mined batches that are here and that a person has given a label, each once.

    Raises:
        DataError: reviews contradict each other.
    """
    reviews = {key: review for key, review in read_reviews(paths.reviews).items() if review.label is not None}
    found: dict[str, Picture] = {}
    for batch in find_batches(paths.mined, paths.hard_cases):
        if not (batch / BATCH).is_file():
            continue
        for row in read_records(batch / BATCH, ["sha256", "image"]):
            if (review := reviews.get(row["sha256"])) is not None and review.label is not None:
                found[row["sha256"]] = Picture(row["sha256"], review.label, row["image"]["bytes"])
    return [found[key] for key in sorted(found)]


def golden_cases(
    challenger: Release, champion: Release, pictures: Sequence[Picture], params: Params
) -> tuple[tuple[Case, ...], Check]:
    """Compare both on golden pictures; those that the champion answers surely and rightly are required.

    Returns:
        The cases, and the check that a picture alone gets the answer that it gets in a batch.

    Raises:
        cascade.engines.base.EngineError: an engine cannot be run.
    """
    new, old = (_answers(release, pictures, params, "golden") for release in (challenger, champion))
    exits = read_classifier(champion.folder).exits
    sure = {key for key, (_, p) in old.items() if p >= exits.high or p <= exits.low}
    cases = _cases(
        pictures, new, old, {one.key for one in pictures if one.key in sure and _right(old[one.key][1], one.label)}
    )
    gap = max(abs(alone - together) for together, alone in new.values())
    limit = params.gate.golden.max_gap
    return cases, Check(check="golden", name="alone against in a batch", value=gap, limit=limit, kept=gap <= limit)


def must_pass_cases(
    challenger: Release, champion: Release, pictures: Sequence[Picture], known: Mapping[str, int], params: Params
) -> tuple[Case, ...]:
    """Compare both on hard cases; those that this champion or an earlier one answers right are required.

    Args:
        challenger: the new release.
        champion: the one that serves.
        pictures: from `hard_pictures`.
        known: label by key of the cases that earlier champions answered right, from `read_fixed`.
        params: of the project.
    """
    if not pictures:
        return ()
    new, old = (_answers(release, pictures, params, "hard") for release in (challenger, champion))
    return _cases(
        pictures, new, old, {one.key for one in pictures if one.key in known or _right(old[one.key][1], one.label)}
    )


def broken(cases: Sequence[Case]) -> list[Case]:
    """The required cases that the challenger answers wrong."""
    return [one for one in cases if one.required and not _right(one.challenger, one.label)]


def read_fixed(file: Path) -> dict[str, int]:
    """Read the list of cases that champions answered right: label by key; empty where there is no list.

    Raises:
        ValueError: a line makes no sense; names file and line.
    """
    if not file.is_file():
        return {}
    known: dict[str, int] = {}
    with file.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            key, label = line.get("sha256") or "", line.get("label") or ""
            if len(key) != 64 or label not in ("0", "1"):
                raise ValueError(f"{file}: {key!r}, {label!r}: expected 64 hexadecimal digits and a label of 0 or 1")
            known[key] = int(label)
    return known


def remember_fixed(report: GateReport, file: Path) -> int:
    """Add to the list what a release that was promoted answers right; gives how many are new.

    Call it once the promotion is done: from then on no challenger may answer one of them wrong.
    """
    rows = _rows(file)
    right = [one for one in report.must_pass if _right(one.challenger, one.label) and one.key not in rows]
    if right:
        rows |= {one.key: (str(one.label), report.challenger) for one in right}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([key, *rest] for key, rest in sorted(rows.items()))
        write_bytes(file, text.getvalue().encode())
    return len(right)


def _rows(file: Path) -> dict[str, tuple[str, str]]:
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as stream:
        return {line["sha256"]: (line["label"], line["release"]) for line in csv.DictReader(stream)}


def _cases(
    pictures: Sequence[Picture],
    new: Mapping[str, tuple[float, float]],
    old: Mapping[str, tuple[float, float]],
    required: set[str],
) -> tuple[Case, ...]:
    """Cases by picture, with the answers that each picture gets alone."""
    return tuple(
        Case(
            key=one.key,
            label=one.label,
            challenger=new[one.key][1],
            champion=old[one.key][1],
            required=one.key in required,
        )
        for one in pictures
    )


def _answered_right(pictures: Sequence[Picture], answers: Mapping[str, tuple[float, float]]) -> set[str]:
    return {one.key for one in pictures if _right(answers[one.key][1], one.label)}


def _right(p: float, label: int) -> bool:
    return (p > CUT) == (label == 1)


def _answers(
    release: Release, pictures: Sequence[Picture], params: Params, kind: str
) -> dict[str, tuple[float, float]]:
    """Probabilities of each picture in a batch and alone, by key, computed or out of the cache."""
    digest = sha256("\n".join(one.key for one in pictures).encode())
    given = {"crops": release.settings.crops}
    file = entry_file(
        params.gate.store, kind, release, modules=["cascade.stages.classifier", __name__],
        inputs={"pictures": digest}, params=given,
    )  # fmt: skip
    found = kept_json(file, lambda: _run(release, pictures))
    return {key: (float(together), float(alone)) for key, (together, alone) in found.items()}


def _run(release: Release, pictures: Sequence[Picture]) -> dict[str, tuple[float, float]]:
    stage = ClassifierStage(release, release.settings.crops)
    stage.load()
    try:
        found: dict[str, tuple[float, float]] = {}
        for at in range(0, len(pictures), BATCH_PICTURES):
            part = pictures[at : at + BATCH_PICTURES]
            images = [decode_stored(one.data) for one in part]
            together = [result.probability for result in stage.predict(images)]
            alone = [stage.predict([image])[0].probability for image in images]
            for one, first, second in zip(part, together, alone, strict=True):
                found[one.key] = (float(first or 0.0), float(second or 0.0))
        return found
    except BadImage as error:
        raise ValueError(f"a picture of the gate cannot be decoded: {error}") from error
    finally:
        stage.unload()
