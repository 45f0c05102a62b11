"""Step `validate`: the exported engine on the challenge set at all four levels; torch is never asked.

`python -m tasks.validate` reads models/classifier and data/pulled and writes reports/validate. It refuses nothing: it
records whether the floors are met, and the flow decides.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.engines.classifier import ClassifierEngine, load_engine
from cascade.evaluate.scores import Statistic, accuracy, bootstrap_interval, classification_scores, mcc
from cascade.preprocess.image import decode
from cascade.preprocess.tta import TtaResult, run_with_tta
from cascade.probability import sigmoid
from cascade.release.manifest import ClassifierSettings
from tasks.common.files import read_json, write_json
from tasks.common.plots import draw_all
from tasks.config import ConfigError, ValidateParams, load_params
from tasks.data.schema import SLICES, DataError, read_records, split_file
from tasks.data.views import LEVELS, answerable, level_views, make_view

CLASSIFIER, PULLED, REPORTS = Path("models/classifier"), Path("data/pulled"), Path("reports/validate")
ANY_SIZE = 1 << 40
BATCH = 16
# a slice with fewer pictures says nothing that should be read
MIN_SLICE = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChallengeView:
    """One view of a challenge picture, and what is known about it."""

    pixels: NDArray[np.uint8]
    label: int
    place: str
    level: int
    answerable: bool
    slices: dict[str, str]


@dataclass(frozen=True)
class ChallengePredictions:
    """Predictions of stage 1 for all views, arrays of shape (n,); `first` without test-time augmentation."""

    p: Floats
    first: Floats
    augmented: NDArray[np.bool_]
    label: NDArray[np.int64]
    place: NDArray[np.str_]
    level: NDArray[np.int64]
    answerable: NDArray[np.bool_]
    slices: dict[str, NDArray[np.str_]]


def validate(
    params: ValidateParams, classifier: Path = CLASSIFIER, pulled: Path = PULLED, reports: Path = REPORTS
) -> dict[str, Any]:
    """Measure; write metrics.json and plots.

    Returns:
        The metrics: overall with intervals, by `level`, by `slice`, `exit`s, `unanswerable`, `tta`, and `floors_met`.

    Raises:
        DataError: the challenge set is missing or lacks a class.
        cascade.engines.base.EngineError: the classifier cannot be loaded.
    """
    answers = predict_challenge(params, classifier, pulled)
    if len(np.unique(answers.label)) < 2:
        raise DataError(f"{split_file(pulled, 'challenge')}: needs pictures of both classes")
    description = read_json(classifier / "classifier.json")
    metrics = measure(answers, params, description["exits"])
    draw_all(answers.label, answers.p, reports / "plots", "challenge set, all levels")
    write_json(reports / "metrics.json", metrics)
    return metrics


def predict_challenge(params: ValidateParams, classifier: Path, pulled: Path) -> ChallengePredictions:
    """Put every view of the challenge set to the configured engine."""
    settings = ClassifierSettings.model_validate(read_json(classifier / "classifier.json"))
    engine = load_engine(classifier, settings.engine, settings.precision, settings.threads)
    try:
        shots = _shots(split_file(pulled, "challenge"), params, settings.size)
        return _collect(shots, engine, settings.tta_interval)
    finally:
        engine.close()


def _shots(path: Path, params: ValidateParams, size: int) -> Iterator[ChallengeView]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; `dvc repro pull_data` writes it")
    for row in read_records(path):
        image = decode(row["image"]["bytes"], max_pixels=ANY_SIZE, min_side=1)
        boxes = row["objects"] or []
        for view in level_views(params.views):
            pixels, geometry = make_view(image, view, key=row["sha256"], seed=params.seed, size=size)
            # without boxes nothing is known, and the picture counts as answerable
            left = row["label"] == 0 or not boxes or answerable(boxes, geometry)
            yield ChallengeView(
                pixels, row["label"], row["place"], view.level, left, {name: row[name] for name in SLICES}
            )


def _collect(
    shots: Iterator[ChallengeView], engine: ClassifierEngine, band: tuple[float, float] | None
) -> ChallengePredictions:
    kept: list[ChallengeView] = []
    said: list[TtaResult] = []
    blank = np.zeros((0,), dtype=np.uint8)
    with tqdm(desc="validate", unit="view") as bar:
        while batch := list(islice(shots, BATCH)):
            said.append(run_with_tta(engine.run, np.stack([shot.pixels for shot in batch]), band))
            kept += [replace(shot, pixels=blank) for shot in batch]
            bar.update(len(batch))
    if not kept:
        raise DataError("the challenge set is empty")
    return _answers(kept, TtaResult(*map(np.concatenate, zip(*said, strict=True))))


def _answers(shots: list[ChallengeView], said: TtaResult) -> ChallengePredictions:
    return ChallengePredictions(
        p=sigmoid(said.logit.astype(np.float64)),
        first=sigmoid(said.first.astype(np.float64)),
        augmented=said.augmented,
        label=np.array([shot.label for shot in shots], dtype=np.int64),
        place=np.array([shot.place for shot in shots]),
        level=np.array([shot.level for shot in shots], dtype=np.int64),
        answerable=np.array([shot.answerable for shot in shots], dtype=np.bool_),
        slices={name: np.array([shot.slices[name] for shot in shots]) for name in SLICES},
    )


def measure(answers: ChallengePredictions, params: ValidateParams, exits: dict[str, float]) -> dict[str, Any]:
    """Turn answers into the report: plain numbers, rounded."""
    everything = np.ones(len(answers.p), dtype=bool)
    metrics: dict[str, Any] = _scores(answers, everything)
    metrics |= _intervals(answers, everything, params)
    metrics["places"] = len(np.unique(answers.place))
    metrics["level"] = {
        str(level): _scores(answers, answers.level == level) | _mcc_interval(answers, answers.level == level, params)
        for level in LEVELS
    }
    metrics["slice"] = {name: _by_value(answers, name, params) for name in SLICES}
    metrics["unanswerable"] = _unanswerable(answers)
    metrics["exit"] = _exit(answers, exits)
    metrics["tta"] = {
        "share": round(float(answers.augmented.mean()), 6),
        "mcc_of_first": round(mcc(answers.label, answers.first > 0.5), 6),
    }
    metrics["floors"] = {"mcc": params.min_mcc, "accuracy": params.min_accuracy}
    metrics["floors_met"] = metrics["mcc"] >= params.min_mcc and metrics["accuracy"] >= params.min_accuracy
    return metrics


def _scores(answers: ChallengePredictions, rows: NDArray[np.bool_]) -> dict[str, Any]:
    found = classification_scores(answers.label[rows], answers.p[rows])
    return {name: round(value, 6) for name, value in found.items()}


def _intervals(answers: ChallengePredictions, rows: NDArray[np.bool_], params: ValidateParams) -> dict[str, float]:
    low, high = _interval(answers, rows, params, lambda label, p: accuracy(label, p > 0.5))
    return {**_mcc_interval(answers, rows, params), "accuracy_low": low, "accuracy_high": high}


def _mcc_interval(answers: ChallengePredictions, rows: NDArray[np.bool_], params: ValidateParams) -> dict[str, float]:
    low, high = _interval(answers, rows, params, lambda label, p: mcc(label, p > 0.5))
    return {"mcc_low": low, "mcc_high": high}


def _interval(
    answers: ChallengePredictions, rows: NDArray[np.bool_], params: ValidateParams, statistic: Statistic
) -> tuple[float, float]:
    low, high = bootstrap_interval(
        statistic,
        answers.label[rows],
        answers.p[rows],
        answers.place[rows],
        resamples=params.bootstrap,
        confidence=params.confidence,
        seed=params.seed,
    )
    return round(low, 6), round(high, 6)


def _by_value(answers: ChallengePredictions, name: str, params: ValidateParams) -> dict[str, Any]:
    values = answers.slices[name]
    found = {}
    for value in sorted(set(values.tolist()) - {""}):
        rows = values == value
        if int(rows.sum()) < MIN_SLICE:
            continue
        # how far the works are is known of roadwork only: such a slice is told apart from all clear pictures
        if bool(np.all(answers.label[rows] == 1)):
            found[value] = _scores(answers, rows | (answers.label == 0)) | {"roadwork": int(rows.sum())}
            found[value] |= _mcc_interval(answers, rows | (answers.label == 0), params)
        else:
            found[value] = _scores(answers, rows)
            # a slice of one class has no MCC to put an interval around
            if len(np.unique(answers.label[rows])) == 2:
                found[value] |= _mcc_interval(answers, rows, params)
    return found


def _unanswerable(answers: ChallengePredictions) -> dict[str, Any]:
    """How many roadwork views lost every labelled object to the crop: no classifier can be asked to see those.

    `mcc_without` is the MCC on the rest.
    """
    works = answers.label == 1
    by_level = {
        str(level): round(float(np.mean(~answers.answerable[works & (answers.level == level)])), 6)
        for level in LEVELS
        if np.any(works & (answers.level == level))
    }
    kept = answers.answerable
    return {
        "share": round(float(np.mean(~answers.answerable[works])), 6),
        "level": by_level,
        "mcc_without": round(mcc(answers.label[kept], answers.p[kept] > 0.5), 6),
    }


def _exit(answers: ChallengePredictions, exits: dict[str, float]) -> dict[str, Any]:
    """How many views stage 1 answers alone, and how often it is wrong there."""
    high, low = answers.p >= exits["high"], answers.p <= exits["low"]
    wrong = (high & (answers.label == 0)) | (low & (answers.label == 1))
    left = int(np.sum(high | low))
    return {
        "high": exits["high"],
        "low": exits["low"],
        "share": round(left / len(answers.p), 6),
        "risk": round(float(wrong.sum()) / max(left, 1), 6),
        "risk_high": round(float(np.sum(wrong & high)) / max(int(high.sum()), 1), 6),
        "risk_low": round(float(np.sum(wrong & low)) / max(int(low.sum()), 1), 6),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    argparse.ArgumentParser(prog="python -m tasks.validate", description=__doc__).parse_args(arguments)
    try:
        metrics = validate(load_params().validate_)
    except (ConfigError, ValueError, OSError) as error:
        print(f"validate: {error}", file=sys.stderr)
        return 1
    print({name: metrics[name] for name in ("mcc", "accuracy", "reward", "auc", "ece", "floors_met")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
