"""Step `train`: a head on frozen features, its calibration, and the exits of stage 1.

`python -m tasks.train` reads data/features and writes models/head and reports/train. The training more at the training
split alone; the calibration split fits scaling, cut and exits, and gives the numbers in the report, which are therefore
a little kinder than those of the challenge set.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.evaluate.scores import classification_scores
from cascade.preprocess.tta import TTA_VIEWS
from tasks.classifier.calibration import Calibration, Exit, fit_calibration, fit_exit
from tasks.classifier.weights import ADAPTED
from tasks.common.files import new_folder, read_json, write_json
from tasks.common.plots import draw_all
from tasks.config import ConfigError, TrainParams, load_params
from tasks.data.feature_store import FEATURES, FINGERPRINT, MORE_FEATURES, TTA_SPLIT, SplitFeatures, load_split
from tasks.data.schema import DataError

if TYPE_CHECKING:
    from tasks.classifier.head import Head

HEAD, REPORTS = Path("models/head"), Path("reports/train")


def train(
    params: TrainParams,
    features: Path = FEATURES,
    folder: Path = HEAD,
    reports: Path = REPORTS,
    *,
    more: Path | None = None,
    views: int | None = None,
    adapted: Path = ADAPTED,
) -> dict[str, Any]:
    """Fit head, calibration and exits; write head.safetensors, head.json, metrics.json and plots.

    Args:
        params: section `train`.
        features: features of the pulled splits.
        folder: where the head goes.
        reports: where metrics and plots go.
        more: features of further training pictures, synthesized and mined.
        views: train on the first so many views of a picture.
        adapted: where `train.start: adapted` finds a head to begin with.

    Returns:
        The metrics.

    Raises:
        DataError: features or the head to begin with are missing, or the calibration split lacks a class.
    """
    learn, held = load_split(features, "train", views, more), load_split(features, "calibration")
    if len(np.unique(held.label)) < 2:
        raise DataError("the calibration split has one class only; it needs roadwork and clear streets")
    common = read_json(features / FINGERPRINT)
    start = _start(params, adapted, learn.x.shape[-1], common["channels"])
    head = _fit(learn, params, common["channels"], start)
    logit, label, places = _flat(head, held)
    calibration = fit_calibration(logit, label, places, params.scaling, params.seed)
    if params.tta:
        augmented = head.logits(load_split(features, TTA_SPLIT).x).reshape(-1, TTA_VIEWS)
        # what is served is what is scaled; and which views are augmented depends on the scaling
        served = _with_tta(logit, augmented, calibration, params)
        calibration = fit_calibration(served, label, places, params.scaling, params.seed)
        logit = _with_tta(logit, augmented, calibration, params)
    exits = _exits(calibration(logit), label, places, params)
    _save(head, calibration, exits, params, common, learn.x.shape[-1], folder)
    metrics = _metrics(calibration(logit), label, exits)
    metrics["train_mcc"] = _train_mcc(head, calibration, learn)
    draw_all(label, calibration(logit), reports / "plots", "calibration")
    write_json(reports / "metrics.json", metrics)
    return metrics


def _start(params: TrainParams, adapted: Path, width: int, channels: int) -> Head | None:
    """The head that the backbone's changes were trained with; None where random weights are asked for."""
    from tasks.classifier.head import HEAD_FILE, load_head

    file = adapted / HEAD_FILE
    if params.start == "random":
        return None
    if not file.is_file():
        raise DataError(f"{file}: no such file; `dvc repro adapt` writes it, or set train.start to random")
    try:
        return load_head(adapted, params.head, width, params.hidden, channels)
    except RuntimeError:
        raise DataError(
            f"{file}: of another shape than train.head and train.hidden ask for; set train.start to random"
        ) from None


def _fit(learn: SplitFeatures, params: TrainParams, channels: int, start: Head | None) -> Head:
    from tasks.classifier.head import fit

    with tqdm(total=params.epochs, desc="train", unit="epoch") as bar:

        def progress(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.4f}")
            bar.update()

        return fit(learn, params, progress, channels, start)


def _flat(head: Head, split: SplitFeatures) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.str_]]:
    """Logits, labels and places of every view."""
    views = split.x.shape[1]
    return head.logits(split.x).ravel(), np.repeat(split.label, views), np.repeat(np.asarray(split.place), views)


def _with_tta(
    logit: NDArray[np.float64], augmented: NDArray[np.float64], calibration: Calibration, params: TrainParams
) -> NDArray[np.float64]:
    """Logits (n,) as stage 1 serves them: the mean with the augmented views (n, k) inside the band."""
    p = calibration(logit)
    within = (p > params.exit_low) & (p < params.exit_high)
    return np.where(within, (logit + augmented.sum(axis=1)) / (1 + augmented.shape[1]), logit)


def _exits(
    p: NDArray[np.float64], label: NDArray[np.int64], places: NDArray[np.str_], params: TrainParams
) -> dict[str, Exit]:
    starts = {"high": params.exit_high, "low": params.exit_low}
    return {
        name: fit_exit(p, label, places, start=start, risk=params.risk, confidence=params.risk_confidence)
        for name, start in starts.items()
    }


def _save(
    head: Head,
    calibration: Calibration,
    exits: dict[str, Exit],
    params: TrainParams,
    fingerprint: dict[str, Any],
    width: int,
    folder: Path,
) -> None:
    from tasks.classifier.head import save_head

    with new_folder(folder) as partial:
        save_head(head, partial)
        document = {
            "kind": params.head,
            "hidden": params.hidden,
            "width": width,
            "channels": fingerprint["channels"],
            "pooling": fingerprint["pooling"],
            "layers": fingerprint["layers"],
            "size": fingerprint["size"],
            "calibration": {"a": calibration.a, "b": calibration.b, "scaling": params.scaling},
            "exits": {name: found.threshold for name, found in exits.items()},
            "tta_band": {"high": params.exit_high, "low": params.exit_low} if params.tta else None,
            "exit_fit": {name: found.as_dict() for name, found in exits.items()},
            "starting_point": {"high": params.exit_high, "low": params.exit_low},
            "risk": params.risk,
            "risk_confidence": params.risk_confidence,
        }
        write_json(partial / "head.json", document)


def _metrics(p: NDArray[np.float64], label: NDArray[np.int64], exits: dict[str, Exit]) -> dict[str, Any]:
    scores: dict[str, Any] = {name: round(value, 6) for name, value in classification_scores(label, p).items()}
    left = (p >= exits["high"].threshold) | (p <= exits["low"].threshold)
    scores["exit_share"] = round(float(left.mean()), 6)
    for name, found in exits.items():
        scores[f"exit_{name}"] = {
            "threshold": found.threshold,
            "certified": int(found.certified),
            "n": found.n,
            "errors": found.errors,
            "bound": round(found.bound, 6),
            "place_bound": round(found.place_bound, 6),
        }
    return scores


def _train_mcc(head: Head, calibration: Calibration, learn: SplitFeatures) -> float:
    logit, label, _ = _flat(head, learn)
    return round(classification_scores(label, calibration(logit))["mcc"], 6)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    argparse.ArgumentParser(prog="python -m tasks.train", description=__doc__).parse_args(arguments)
    try:
        print(train(load_params().train, more=MORE_FEATURES))
    except (ConfigError, ValueError, OSError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
