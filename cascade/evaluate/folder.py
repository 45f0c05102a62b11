"""A user's own labelled folder against a release: the pipeline's metrics, with intervals and slices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from cascade.config import ServeParams
from cascade.core.cascade import NOBODY, Cascade, Prediction
from cascade.decoding.files import read_picture
from cascade.decoding.pool import Decoders
from cascade.labelled.files import FolderError
from cascade.labelled.folder import LabelledFile, read_labelled
from cascade.labelled.manifest import MANIFEST
from cascade.preprocess.image import BadImage
from cascade.probability import CUT

if TYPE_CHECKING:
    from PIL.Image import Image

SLICES = ("grade", "source", "time", "weather", "distance", "road", "region")
BATCH = 16
# file, reason and message of what cannot be used
Skipped = dict[str, str]
RESAMPLES, CONFIDENCE, SEED = 1000, 0.95, 0


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

    Attributes:
        prior: share of roadwork that all figures are for, those of slices too; None: the images' own.
        constant: accuracy, MCC and reward of always giving the more frequent label at it.
        intervals: (low, high) per metric, None where it is undefined.
        slices: of a column, the metrics of its values.
    """

    model_config = ConfigDict(frozen=True)
    release: str
    prior: float | None
    metrics: dict[str, float]
    constant: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]
    groups: int
    slices: dict[str, dict[str, dict[str, float]]]
    skipped: list[Skipped]


def read_folder(folder: Path, left_out: list[Skipped] | None = None) -> list[LabelledImage]:
    """List a folder's labelled images: from `manifest.csv` where there is one, else from its class folders.

    The manifest has the columns file and label (0/1, roadwork/clear/none), and may have group and the columns of
    `SLICES`. Subfolders have the name of a class (`cascade.labelled.class_names`); each of their images is its own
    group. Images are found by content, links to folders are followed.

    Args:
        folder: the folder.
        left_out: gets what cannot be used, as `score` lists what does not decode.

    Raises:
        FolderError: names the row, file or folder that does not fit.
    """
    found = read_labelled(folder)
    for one in found.left_out:
        if one.line:
            raise FolderError(one.message)
    if left_out is not None:
        left_out += [{"file": str(one.path), "reason": one.reason, "message": one.message} for one in found.left_out]
    if not found.files:
        why = f"; left out: {found.left_out[0].message}" if found.left_out else ""
        raise FolderError(f"{folder}: no labelled images; expected {MANIFEST}, or subfolders roadwork/ and clear/{why}")
    return [_labelled(file) for file in found.files]


def score(
    cascade: Cascade, samples: Sequence[LabelledImage], serve: ServeParams
) -> tuple[list[ScoredImage], list[Skipped]]:
    """Predict every sample, with a progress bar; give the predictions, and why files could not be read."""
    from tqdm import tqdm

    scored: list[ScoredImage] = []
    skipped: list[Skipped] = []
    with Decoders(pictures=1) as decoders, tqdm(total=len(samples), unit="img", disable=None) as bar:
        for batch in batches(samples):
            good, bad = score_batch(cascade, batch, serve, decoders)
            scored += good
            skipped += bad
            bar.update(len(batch))
    return scored, skipped


def batches(samples: Sequence[LabelledImage]) -> Iterator[Sequence[LabelledImage]]:
    """The samples in groups that are predicted together; the groups bear on the last bits of a prediction."""
    for start in range(0, len(samples), BATCH):
        yield samples[start : start + BATCH]


def score_batch(
    cascade: Cascade, batch: Sequence[LabelledImage], serve: ServeParams, decoders: Decoders
) -> tuple[list[ScoredImage], list[Skipped]]:
    """Predict the samples of one batch; give the predictions, and why files could not be read."""
    images: list[Image] = []
    good: list[LabelledImage] = []
    skipped: list[Skipped] = []
    for sample in batch:
        try:
            images.append(read_picture(sample.path, serve=serve, decoders=decoders).image)
            good.append(sample)
        except BadImage as error:
            skipped.append({"file": str(sample.path), "reason": error.reason, "message": f"{sample.path}: {error}"})
    predictions = cascade.predict(images) if images else []
    return [_scored(sample, one) for sample, one in zip(good, predictions, strict=True)], skipped


def summarise(
    scored: Sequence[ScoredImage], skipped: list[Skipped], release: str, *, prior: float | None
) -> EvaluationReport:
    """Turn predictions into metrics, intervals by group, and metrics of every slice with more than one value.

    Args:
        scored: the predictions.
        skipped: what could not be read.
        release: its id.
        prior: share of roadwork that the figures are for; None for that of the images.

    Raises:
        FolderError: not one image could be read.
    """
    if not scored:
        raise FolderError(f"none of the {len(skipped)} images could be read; the first: {skipped[0]['message']}")
    from cascade.evaluate.prior import share_at
    from cascade.evaluate.scores import constant_answer

    return EvaluationReport(
        release=release,
        prior=prior,
        metrics=_metrics(scored, prior),
        constant=constant_answer(share_at([one.sample.label for one in scored], prior)),
        intervals=_intervals(scored, prior),
        groups=len({one.sample.group for one in scored}),
        slices={name: values for name in SLICES if (values := _slice(scored, name, prior))},
        skipped=skipped,
    )


def _labelled(file: LabelledFile) -> LabelledImage:
    slices = {column: file.cells[column] for column in SLICES if column in file.cells}
    return LabelledImage(path=file.path, label=file.label, group=file.group or file.name, slices=slices)


def _scored(sample: LabelledImage, prediction: Prediction) -> ScoredImage:
    return ScoredImage(
        sample=sample,
        probability=prediction.probability,
        decided_by=prediction.decided_by,
        sure=prediction.stages[-1].verdict != "undecided",
        milliseconds=sum(result.milliseconds / result.batch for result in prediction.stages),
    )


def _metrics(scored: Iterable[ScoredImage], prior: float | None) -> dict[str, float]:
    """Scores and shares at the prior; milliseconds are a mean over the images as they are."""
    from cascade.evaluate.prior import prior_weights
    from cascade.evaluate.scores import classification_scores

    everything = list(scored)
    label, p = [one.sample.label for one in everything], [one.probability for one in everything]
    count, weight = len(everything), prior_weights(label, prior).tolist()
    pairs = list(zip(weight, everything, strict=True))
    return {
        **classification_scores(label, p, prior=prior),
        # a stage alone may give no estimate
        "abstained": sum(w for w, one in pairs if one.decided_by == NOBODY) / count,
        "exit_share": sum(w for w, one in pairs if one.sure) / count,
        "milliseconds": sum(one.milliseconds for one in everything) / count,
    }


def _intervals(scored: Sequence[ScoredImage], prior: float | None) -> dict[str, tuple[float, float] | None]:
    from cascade.evaluate import scores
    from cascade.evaluate.prior import prior_weights

    label, p = [one.sample.label for one in scored], [one.probability for one in scored]
    groups = [one.sample.group for one in scored]
    statistics: dict[str, scores.Statistic] = {
        "mcc": lambda truth, q: scores.mcc(truth, q > CUT, prior_weights(truth, prior)),
        "accuracy": lambda truth, q: scores.accuracy(truth, q > CUT, prior_weights(truth, prior)),
        "reward": lambda truth, q: scores.classification_scores(truth, q, prior=prior)["reward"],
        "auc": scores.auc,
        "ece": lambda truth, q: scores.ece(truth, q, prior_weights(truth, prior)),
    }
    intervals: dict[str, tuple[float, float] | None] = {}
    for name, statistic in statistics.items():
        low, high = scores.bootstrap_interval(
            statistic, label, p, groups, resamples=RESAMPLES, confidence=CONFIDENCE, seed=SEED
        )
        intervals[name] = None if low != low else (low, high)
    return intervals


def _slice(scored: Sequence[ScoredImage], name: str, prior: float | None) -> dict[str, dict[str, float]]:
    members: dict[str, list[ScoredImage]] = defaultdict(list)
    for one in scored:
        members[one.sample.slices.get(name) or ""].append(one)
    members.pop("", None)
    return {value: _metrics(ones, prior) for value, ones in sorted(members.items())} if len(members) > 1 else {}
