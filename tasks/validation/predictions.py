"""Predictions of the exported engine for the challenge set, seen at all four levels of degradation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.engines.classifier import ClassifierEngine, load_engine
from cascade.preprocess.image import decode
from cascade.preprocess.tta import Tta, TtaResult, run_with_tta
from cascade.probability import sigmoid
from cascade.release.manifest import ClassifierSettings
from tasks.common.files import read_json
from tasks.config import ValidateParams
from tasks.data.schema import SLICES, DataError, read_records, split_file
from tasks.data.views import answerable, level_views, make_view

ANY_SIZE = 1 << 40
SOURCE = "source"  # of a picture, beside the slices of what it shows


@dataclass(frozen=True)
class ChallengeView:
    """One view of a challenge image, and what is known about it.

    Attributes:
        pixels: uint8 RGB (size, size, 3).
        label: 0 or 1.
        place: split key; intervals resample places.
        level: of degradation, 0 to 3.
        answerable: whether the crop left a labelled object in a roadwork view.
        slices: value of each slice; empty where unknown.
    """

    pixels: NDArray[np.uint8]
    label: int
    place: str
    level: int
    answerable: bool
    slices: dict[str, str]


@dataclass(frozen=True)
class ChallengePredictions:
    """Predictions of stage 1 for all views; arrays of shape (n,).

    Attributes:
        p: probability of roadwork.
        first: the same without test-time augmentation.
        augmented: whether a view got test-time augmentation.
        label, place, level, answerable, slices: see `ChallengeView`.
    """

    p: NDArray[np.float64]
    first: NDArray[np.float64]
    augmented: NDArray[np.bool_]
    label: NDArray[np.int64]
    place: NDArray[np.str_]
    level: NDArray[np.int64]
    answerable: NDArray[np.bool_]
    slices: dict[str, NDArray[np.str_]]


def predict_challenge(params: ValidateParams, classifier: Path, pulled: Path) -> ChallengePredictions:
    """Run the engine of a classifier's folder on every view of the challenge set.

    Raises:
        DataError: the challenge set is missing, empty or lacks a class.
        cascade.engines.base.EngineError: the classifier cannot be loaded.
    """
    settings = ClassifierSettings.model_validate(read_json(classifier / "classifier.json"))
    path = split_file(pulled, "challenge")
    engine = load_engine(classifier, settings.engine, settings.precision, settings.threads)
    try:
        found = _predict(challenge_views(path, params, settings.size), engine, settings.tta, params.batch)
    finally:
        engine.close()
    if len(np.unique(found.label)) < 2:
        raise DataError(f"{path}: needs pictures of both classes")
    return found


def challenge_views(path: Path, params: ValidateParams, size: int) -> Iterator[ChallengeView]:
    """Make the views of a split, `params.views` a level and image, as squares of `size` px.

    Raises:
        DataError: the split is missing.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; `dvc repro pull_data` writes it")
    for row in read_records(path):
        yield from _views_of(row, params, size)


def _views_of(row: dict[str, Any], params: ValidateParams, size: int) -> Iterator[ChallengeView]:
    image = decode(row["image"]["bytes"], max_pixels=ANY_SIZE, min_side=1)
    boxes, slices = row["objects"] or [], {name: row[name] for name in (*SLICES, SOURCE)}
    for view in level_views(params.views):
        pixels, geometry = make_view(image, view, key=row["sha256"], seed=params.seed, size=size)
        # without boxes it is unknown, and the view counts as answerable
        left = row["label"] == 0 or not boxes or answerable(boxes, geometry)
        yield ChallengeView(pixels, row["label"], row["place"], view.level, left, slices)


def _predict(
    views: Iterator[ChallengeView], engine: ClassifierEngine, tta: Tta | None, batch: int
) -> ChallengePredictions:
    seen: list[ChallengeView] = []
    results: list[TtaResult] = []
    blank = np.zeros((0,), dtype=np.uint8)
    with tqdm(desc="validate", unit="view") as bar:
        while shown := list(islice(views, batch)):
            results.append(run_with_tta(engine.run, np.stack([view.pixels for view in shown]), tta))
            # the pixels of all views together would fill the memory
            seen += [replace(view, pixels=blank) for view in shown]
            bar.update(len(shown))
    if not seen:
        raise DataError("the challenge set is empty")
    return _as_arrays(seen, TtaResult(*map(np.concatenate, zip(*results, strict=True))))


def _as_arrays(views: list[ChallengeView], result: TtaResult) -> ChallengePredictions:
    return ChallengePredictions(
        p=sigmoid(result.logit.astype(np.float64)),
        first=sigmoid(result.first.astype(np.float64)),
        augmented=result.augmented,
        label=np.array([view.label for view in views], dtype=np.int64),
        place=np.array([view.place for view in views]),
        level=np.array([view.level for view in views], dtype=np.int64),
        answerable=np.array([view.answerable for view in views], dtype=np.bool_),
        slices={name: np.array([view.slices[name] for view in views]) for name in (*SLICES, SOURCE)},
    )
