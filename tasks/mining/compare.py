"""What selection is worth: labels that each strategy needs for the same MCC. `python -m tasks.mining.compare`.

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
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.evaluate.scores import mcc
from tasks.common.files import write_bytes
from tasks.config import ConfigError, MineParams, load_params
from tasks.data.feature_store import FEATURES, load_split
from tasks.mining.select import Pool, SelectionLimits, Strategy, select
from tasks.mining.space import Space

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
DOCUMENT, PLOT = Path("docs/mining.md"), Path("docs/mining.png")
BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"
START_PLACES, STEP, ROUNDS = 6, 24, 12
RESAMPLES = 2000
REGULARIZATION = 0.003
COLOURS = {"uncertain_diverse": "#d62728", "hardness": "#1f77b4", "uniqueness": "#2ca02c", "random": "#7f7f7f"}


@dataclass(frozen=True)
class LearningData:
    """Vectors float32 (n, d), labels (n,) and, for training pictures, places and digests."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    place: NDArray[np.str_]
    keys: list[str]


def compare(train: LearningData, test: LearningData, params: MineParams, seeds: int) -> dict[str, NDArray[np.float64]]:
    """Run every strategy with every seed; gives MCC, (seeds, rounds + 1), by strategy."""
    space = Space.of(train.x)
    curves: dict[str, NDArray[np.float64]] = {}
    with tqdm(total=len(STRATEGIES) * seeds, desc="compare", unit="run") as bar:
        for strategy in STRATEGIES:
            rows = []
            for seed in range(seeds):
                rows.append(simulate(strategy, train, test, params, space, seed))
                bar.update()
            curves[strategy] = np.array(rows)
    return curves


def simulate(
    strategy: Strategy, train: LearningData, test: LearningData, params: MineParams, space: Space, seed: int
) -> list[float]:
    """One run: MCC on `test` at the start and after every round; the seed chooses the places to start with."""
    places = np.random.default_rng(seed).permutation(np.unique(train.place))[:START_PLACES]
    known = np.flatnonzero(np.isin(train.place, places))
    pool = np.flatnonzero(~np.isin(train.place, places))
    values = []
    for turn in range(ROUNDS + 1):
        model = fit(train.x[known], train.y[known])
        values.append(mcc(test.y, model(test.x) > 0.5))
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


def labels_needed(curves: NDArray[np.float64], target: float, counts: NDArray[np.float64]) -> float:
    """Labels at which the mean curve first reaches `target`, between rounds by a straight line; inf if it never does.

    Args:
        curves: MCC, (seeds, rounds + 1).
        target: MCC to reach.
        counts: labels at every round, (rounds + 1,).
    """
    mean = np.maximum.accumulate(curves.mean(axis=0))
    above = np.flatnonzero(mean >= target)
    if not len(above):
        return float("inf")
    at = int(above[0])
    if at == 0:
        return float(counts[0])
    share = (target - mean[at - 1]) / (mean[at] - mean[at - 1])
    return float(counts[at - 1] + share * (counts[at] - counts[at - 1]))


def table(curves: dict[str, NDArray[np.float64]], counts: NDArray[np.float64]) -> str:
    """Markdown: for each strategy the labels for what random choice reaches, and its mean gain over random."""
    random, seeds = curves["random"], len(curves["random"])
    half, whole = len(counts) // 2, len(counts) - 1
    targets = [float(random.mean(axis=0)[at]) for at in (half, whole)]
    heads = [f"labels to MCC {target:.3f}" for target in targets]
    lines = [f"| strategy | {heads[0]} | {heads[1]} | MCC at {counts[whole]:.0f} labels | mean MCC over random |"]
    lines.append("|---|---|---|---|---|")
    draws = np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds))
    for name in STRATEGIES:
        needed = [_interval_of_labels(curves[name], target, counts, draws) for target in targets]
        gain = (curves[name] - random).mean(axis=1)
        low, high = np.quantile(gain[draws].mean(axis=1), [0.025, 0.975])
        last = curves[name][:, whole].mean()
        above = "" if name == "random" else f"{gain.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append(f"| {name} | {needed[0]} | {needed[1]} | {last:.3f} | {above} |")
    return "\n".join(lines)


def _interval_of_labels(
    curves: NDArray[np.float64], target: float, counts: NDArray[np.float64], draws: NDArray[np.int64]
) -> str:
    values = np.array([labels_needed(curves[rows], target, counts) for rows in draws])
    shown = [
        f"{value:.0f}" if np.isfinite(value) else f"over {counts[-1]:.0f}"
        for value in (labels_needed(curves, target, counts), *np.quantile(values, [0.025, 0.975], method="nearest"))
    ]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def draw(curves: dict[str, NDArray[np.float64]], counts: NDArray[np.float64], target: Path) -> None:
    """Draw mean MCC by labels with 95 % intervals over seeds."""
    from tasks.mining.pictures import new_figure, save_figure

    figure = new_figure(7.0, 4.4)
    axes = figure.add_subplot()
    draws = np.random.default_rng(0).integers(len(curves["random"]), size=(RESAMPLES, len(curves["random"])))
    for name, values in curves.items():
        low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975], axis=0)
        axes.plot(counts, values.mean(axis=0), color=COLOURS[name], marker="o", markersize=3, label=name)
        axes.fill_between(counts, low, high, color=COLOURS[name], alpha=0.12, linewidth=0)
    axes.set(xlabel="labelled pictures", ylabel="MCC on the calibration split")
    axes.set_title(f"mean of {len(curves['random'])} seeds, 95 % interval by bootstrap over seeds", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(figure, target)


def best(curves: dict[str, NDArray[np.float64]]) -> str:
    """The strategy with the highest mean MCC over all rounds and seeds."""
    return max(curves, key=lambda name: float(curves[name].mean()))


def margin(curves: dict[str, NDArray[np.float64]]) -> str:
    """The best strategy against the next one: difference of mean MCC with a 95 % interval, paired by seed."""
    first, second = sorted(curves, key=lambda name: -float(curves[name].mean()))[:2]
    gain = (curves[first] - curves[second]).mean(axis=1)
    draws = np.random.default_rng(0).integers(len(gain), size=(RESAMPLES, len(gain)))
    low, high = np.quantile(gain[draws].mean(axis=1), [0.025, 0.975])
    return f"Best on average: `{first}`, {gain.mean():+.3f} ({low:+.3f} to {high:+.3f}) mean MCC over `{second}`."


def load(features: Path) -> tuple[LearningData, LearningData]:
    """The training split in its plain view, and the calibration split in all of its views.

    Raises:
        DataError: features are missing.
    """
    return _load(features, "train", 1), _load(features, "calibration", None)


def _load(features: Path, split: str, views: int | None) -> LearningData:
    from tasks.common.files import read_json
    from tasks.data.feature_store import FINGERPRINT
    from tasks.probe import pooled

    found, common = load_split(features, split, views), read_json(features / FINGERPRINT)
    count = found.x.shape[1]
    vectors = [
        found.x[:, view] if common["pooling"] == "statistics" else pooled(found.x[:, view], common["channels"]).numpy()
        for view in range(count)
    ]
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


def write_table(document: Path, text: str) -> None:
    """Replace what stands between the two markers of a Markdown file.

    Raises:
        ValueError: the file has no such markers.
    """
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document}: expected a line {BEGIN} and a line {END}")
    write_bytes(document, f"{before}{BEGIN}\n{text}\n{END}{after}".encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, draw, write the table and say whether params.yaml names the best."""
    parser = argparse.ArgumentParser(prog="python -m tasks.mining.compare", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--features", type=Path, default=FEATURES)
    options = parser.parse_args(arguments)
    try:
        params = load_params().mine
        train, test = load(options.features)
        curves = compare(train, test, params, options.seeds)
        counts = label_counts(train, options.seeds)
        draw(curves, counts, PLOT)
        head = f"{options.seeds} seeds, {len(train.y)} pictures to choose from, measured on {len(test.y)} views."
        text = f"{head}\n{margin(curves)}\n\n{table(curves, counts)}"
        write_table(DOCUMENT, text)
    except (ConfigError, ValueError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    print(text)
    if best(curves) != params.strategy:
        print(f"params.yaml says mine.strategy: {params.strategy}; {best(curves)} does better here")
    return 0


if __name__ == "__main__":
    sys.exit(main())
