"""A user's own labelled folder against a release: the pipeline's metrics, with intervals and slices."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cascade.config import ServeParams
from cascade.core.cascade import NOBODY, Cascade
from cascade.decoding.files import read_picture
from cascade.decoding.pool import Decoders
from cascade.preprocess.image import BadImage, Decoded
from cascade.probability import CUT, LABEL_NUMBERS

MANIFEST = "manifest.csv"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
SLICES = ("grade", "source", "time", "weather", "distance", "road", "region")
BATCH = 16
RESAMPLES, CONFIDENCE, SEED = 1000, 0.95, 0


class FolderError(ValueError):
    """The folder holds no labelled images, or its manifest does not fit."""


class LabelledImage(BaseModel):
    """One labelled image. `group` is what resampling keeps together: a drive, a place."""

    model_config = ConfigDict(frozen=True)
    path: Path
    label: int
    group: str
    slices: dict[str, str] = {}


class ScoredImage(BaseModel):
    """A sample with its prediction; `sure`: a stage reached a verdict."""

    model_config = ConfigDict(frozen=True)
    sample: LabelledImage
    probability: float
    decided_by: str
    sure: bool
    milliseconds: float


class EvaluationReport(BaseModel):
    """The result of `evaluate`.

    `intervals` holds (low, high) per metric, null where it is undefined; `slices` maps a column to its values' metrics.
    """

    model_config = ConfigDict(frozen=True)
    release: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]
    groups: int
    slices: dict[str, dict[str, dict[str, float]]]
    skipped: list[dict[str, str]]


def read_folder(folder: Path) -> list[LabelledImage]:
    """List a folder's labelled images: from `manifest.csv` where there is one, else from its subfolders.

    The manifest has the columns file and label (0/1, roadwork/clear/none), and may have group and the columns of
    `SLICES`. Subfolders are named roadwork or 1, and clear, none or 0; each of their images is its own group.

    Raises:
        FolderError: names the row, file or folder that does not fit.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder")
    manifest = folder / MANIFEST
    samples = list(_from_manifest(manifest) if manifest.is_file() else _from_subfolders(folder))
    if not samples:
        raise FolderError(f"{folder}: no labelled images; expected {MANIFEST}, or subfolders roadwork/ and clear/")
    return samples


def score(
    cascade: Cascade, samples: Sequence[LabelledImage], serve: ServeParams
) -> tuple[list[ScoredImage], list[dict[str, str]]]:
    """Predict every sample, with a progress bar; give the predictions, and why files could not be read."""
    from tqdm import tqdm

    scored: list[ScoredImage] = []
    skipped: list[dict[str, str]] = []
    with Decoders(pictures=1) as decoders, tqdm(total=len(samples), unit="img", disable=None) as bar:
        for start in range(0, len(samples), BATCH):
            batch = samples[start : start + BATCH]
            _score_batch(cascade, batch, partial(read_picture, serve=serve, decoders=decoders), scored, skipped)
            bar.update(len(batch))
    return scored, skipped


def summarise(scored: Sequence[ScoredImage], skipped: list[dict[str, str]], release: str) -> EvaluationReport:
    """Turn predictions into metrics, intervals by group, and metrics of every slice with more than one value.

    Raises:
        FolderError: not one image could be read.
    """
    if not scored:
        raise FolderError(f"none of the {len(skipped)} images could be read; the first: {skipped[0]['message']}")
    return EvaluationReport(
        release=release,
        metrics=_metrics(scored),
        intervals=_intervals(scored),
        groups=len({one.sample.group for one in scored}),
        slices={name: values for name in SLICES if (values := _slice(scored, name))},
        skipped=skipped,
    )


def _from_manifest(manifest: Path) -> Iterator[LabelledImage]:
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if missing := {"file", "label"} - set(rows.fieldnames or ()):
            raise FolderError(f"{manifest}: column {', '.join(sorted(missing))} is missing")
        for number, row in enumerate(rows, start=2):
            yield _from_row(manifest, number, row)


def _from_row(manifest: Path, number: int, row: dict[str, str | None]) -> LabelledImage:
    name, label = row["file"] or "", (row["label"] or "").strip().lower()
    if label not in LABEL_NUMBERS:
        raise FolderError(f"{manifest}, line {number}: label {label!r} is none of {', '.join(LABEL_NUMBERS)}")
    path = manifest.parent / name
    if not path.is_file():
        raise FolderError(f"{manifest}, line {number}: {path}: no such file")
    slices = {column: row[column] or "" for column in SLICES if column in row}
    return LabelledImage(path=path, label=LABEL_NUMBERS[label], group=row.get("group") or name, slices=slices)


def _from_subfolders(folder: Path) -> Iterator[LabelledImage]:
    for sub in sorted(folder.iterdir()):
        label = LABEL_NUMBERS.get(sub.name.lower())
        if label is None or not sub.is_dir():
            continue
        for path in sorted(sub.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                yield LabelledImage(path=path, label=label, group=str(path.relative_to(folder)))


def _score_batch(
    cascade: Cascade,
    batch: Sequence[LabelledImage],
    read: Callable[[Path], Decoded],
    scored: list[ScoredImage],
    skipped: list[dict[str, str]],
) -> None:
    images, good = [], []
    for sample in batch:
        try:
            images.append(read(sample.path).image)
            good.append(sample)
        except BadImage as error:
            skipped.append({"file": str(sample.path), "reason": error.reason, "message": f"{sample.path}: {error}"})
    if not good:
        return
    for sample, prediction in zip(good, cascade.predict(images), strict=True):
        sure = prediction.stages[-1].verdict != "undecided"
        milliseconds = prediction.milliseconds / len(good)
        scored.append(
            ScoredImage(
                sample=sample,
                probability=prediction.probability,
                decided_by=prediction.decided_by,
                sure=sure,
                milliseconds=milliseconds,
            )
        )


def _metrics(scored: Iterable[ScoredImage]) -> dict[str, float]:
    from cascade.evaluate.scores import classification_scores

    everything = list(scored)
    label, p = [one.sample.label for one in everything], [one.probability for one in everything]
    count = len(everything)
    return {
        **classification_scores(label, p),
        # a stage alone may give no estimate
        "abstained": sum(one.decided_by == NOBODY for one in everything) / count,
        "exit_share": sum(one.sure for one in everything) / count,
        "milliseconds": sum(one.milliseconds for one in everything) / count,
    }


def _intervals(scored: Sequence[ScoredImage]) -> dict[str, tuple[float, float] | None]:
    from cascade.evaluate import scores

    label, p = [one.sample.label for one in scored], [one.probability for one in scored]
    groups = [one.sample.group for one in scored]
    statistics: dict[str, scores.Statistic] = {
        "mcc": lambda truth, q: scores.mcc(truth, q > CUT),
        "accuracy": lambda truth, q: scores.accuracy(truth, q > CUT),
        "reward": lambda truth, q: scores.classification_scores(truth, q)["reward"],
        "auc": scores.auc,
        "ece": scores.ece,
    }
    intervals: dict[str, tuple[float, float] | None] = {}
    for name, statistic in statistics.items():
        low, high = scores.bootstrap_interval(
            statistic, label, p, groups, resamples=RESAMPLES, confidence=CONFIDENCE, seed=SEED
        )
        intervals[name] = None if low != low else (low, high)
    return intervals


def _slice(scored: Sequence[ScoredImage], name: str) -> dict[str, dict[str, float]]:
    members: dict[str, list[ScoredImage]] = defaultdict(list)
    for one in scored:
        members[one.sample.slices.get(name) or ""].append(one)
    members.pop("", None)
    return {value: _metrics(ones) for value, ones in sorted(members.items())} if len(members) > 1 else {}
