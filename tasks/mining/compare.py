"""Compare the strategies of selection: labels that each needs for the same MCC. `python -m tasks.mining.compare`.

A simulation over the training split, whose labels are known: start with the pictures of a few places, let a strategy
choose what to label next among all other places, fit a logistic regression on class token, mean and maximum of the
patch tokens, measure it on the calibration split, repeat. Writes docs/mining.png and the table in docs/mining.md.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.evaluate.prior import prior_weights
from cascade.evaluate.scores import mcc
from tasks.common.files import read_json
from tasks.common.markdown import replace_between
from tasks.config import ConfigError, MineParams, load_params
from tasks.data.feature_store import FEATURES, FINGERPRINT, load_split
from tasks.mining.compare_report import STRATEGIES, best, draw, margin, table
from tasks.mining.greedy import Pool, SelectionLimits
from tasks.mining.select import Strategy, select
from tasks.mining.space import Space

DOCUMENT, PLOT = Path("docs/mining.md"), Path("docs/mining.png")
BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"
START_PLACES, STEP, ROUNDS = 6, 24, 12
REGULARIZATION = 0.003


@dataclass(frozen=True)
class LearningData:
    """Vectors float32 (n, d), labels (n,) and, for training pictures, places and digests."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    place: NDArray[np.str_]
    keys: list[str]


def compare(
    train: LearningData, test: LearningData, params: MineParams, seeds: int, *, prior: float | None
) -> dict[str, NDArray[np.float64]]:
    """Run every strategy with every seed; gives MCC at the prior, (seeds, rounds + 1), by strategy."""
    space = Space.of(train.x)
    curves: dict[str, NDArray[np.float64]] = {}
    with tqdm(total=len(STRATEGIES) * seeds, desc="compare", unit="run") as bar:
        for strategy in STRATEGIES:
            rows = []
            for seed in range(seeds):
                rows.append(simulate(strategy, train, test, params, space, seed, prior=prior))
                bar.update()
            curves[strategy] = np.array(rows)
    return curves


def simulate(
    strategy: Strategy,
    train: LearningData,
    test: LearningData,
    params: MineParams,
    space: Space,
    seed: int,
    *,
    prior: float | None,
) -> list[float]:
    """One run: MCC on `test` at a prior, at the start and after every round; the seed chooses the first places."""
    places = np.random.default_rng(seed).permutation(np.unique(train.place))[:START_PLACES]
    known = np.flatnonzero(np.isin(train.place, places))
    pool = np.flatnonzero(~np.isin(train.place, places))
    values, weight = [], prior_weights(test.y, prior)
    for turn in range(ROUNDS + 1):
        model = fit(train.x[known], train.y[known])
        values.append(mcc(test.y, model(test.x) > 0.5, weight))
        if turn < ROUNDS and len(pool):
            probability = model(train.x[pool])
            rows = next_batch(strategy, train, pool, known, probability, params, space, seed * 1000 + turn)
            known, pool = np.concatenate([known, pool[rows]]), np.delete(pool, rows)
    return values


def next_batch(
    strategy: Strategy,
    train: LearningData,
    pool: NDArray[np.int64],
    known: NDArray[np.int64],
    probability: NDArray[np.float64],
    params: MineParams,
    space: Space,
    seed: int,
) -> list[int]:
    """What to label next, as rows of `pool`; ours with the limits of the stage, the others alone, without any."""
    limits = SelectionLimits(STEP)
    if strategy == "uncertain_diverse":
        limits = SelectionLimits(
            STEP, params.shortlist, params.class_share, params.place_quota, params.duplicate_distance
        )
    candidates = Pool(train.x[pool], probability, train.place[pool].tolist(), [train.keys[row] for row in pool])
    return select(candidates, limits, strategy=strategy, space=space, known=train.x[known], seed=seed).rows


def fit(x: NDArray[np.float32], y: NDArray[np.int64]) -> Any:
    """Fit a balanced logistic regression; gives a function from vectors (n, d) to probabilities (n,)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    if len(np.unique(y)) < 2:
        return lambda z: np.full(len(z), float(y[0]))
    model = LogisticRegression(C=REGULARIZATION, max_iter=300, class_weight="balanced")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((x - mean) / scale, y)
    return lambda z: model.predict_proba((z - mean) / scale)[:, 1]


def load(features: Path) -> tuple[LearningData, LearningData]:
    """The training split in its plain view, and the calibration split in all of its views.

    Raises:
        DataError: features are missing.
    """
    return _load(features, "train", 1), _load(features, "calibration", None)


def _load(features: Path, split: str, views: int | None) -> LearningData:
    from tasks.classifier.scorer import token_statistics

    found, common = load_split(features, split, views), read_json(features / FINGERPRINT)
    count, vectors = found.x.shape[1], [found.x[:, view] for view in range(found.x.shape[1])]
    if common["pooling"] != "statistics":
        vectors = [token_statistics(tokens, common["channels"]).numpy() for tokens in vectors]
    label, place = np.repeat(found.label, count), np.repeat(np.asarray(found.place), count)
    x = np.stack(vectors, axis=1).reshape(len(label), -1).astype(np.float32)
    return LearningData(x, label, place, [key for key in found.sha256 for _ in range(count)])


def label_counts(train: LearningData, seeds: int) -> NDArray[np.float64]:
    """Labels at every round, mean over seeds: places have unlike numbers of pictures."""
    first = []
    for seed in range(seeds):
        places = np.random.default_rng(seed).permutation(np.unique(train.place))[:START_PLACES]
        first.append(np.isin(train.place, places).sum())
    counts: NDArray[np.float64] = np.mean(first) + STEP * np.arange(ROUNDS + 1, dtype=np.float64)
    return np.minimum(counts, float(len(train.y)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, draw, write the table, and print a hint where params.yaml names another strategy than the best."""
    parser = argparse.ArgumentParser(prog="python -m tasks.mining.compare", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--features", type=Path, default=FEATURES)
    options = parser.parse_args(arguments)
    try:
        everything = load_params()
        params = everything.mine
        train, test = load(options.features)
        curves = compare(train, test, params, options.seeds, prior=everything.prior)
        counts = label_counts(train, options.seeds)
        draw(curves, counts, PLOT)
        head = f"{options.seeds} seeds, {len(train.y)} pictures to choose from, measured on {len(test.y)} views."
        text = f"{head}\n{margin(curves)}\n\n{table(curves, counts)}"
        replace_between(DOCUMENT, BEGIN, END, text)
    except (ConfigError, ValueError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    print(text)
    if best(curves) != params.strategy:
        print(f"mine.strategy is {params.strategy} in params.yaml; {best(curves)} has the higher mean MCC here")
    return 0


if __name__ == "__main__":
    sys.exit(main())
