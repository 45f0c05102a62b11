"""Plots of a classifier's answers as PNG; the same numbers give the same bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.evaluate.prior import describe_prior, prior_weights
from cascade.probability import LABELS
from tasks.common.files import new_folder, write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
BINS = 10
INCHES, DPI = (4.8, 4.2), 110


def draw_all(label: ArrayLike, p: ArrayLike, folder: Path, title: str, *, prior: float | None) -> None:
    """Write precision_recall, reliability, confusion and risk_coverage.png into a fresh `folder`.

    Args:
        label: 0 or 1, (n,), both there.
        p: probability of roadwork, (n,).
        folder: is replaced as a whole.
        title: what was measured.
        prior: share of roadwork that the curves are for; pictures are counted as they are.
    """
    truth, score = np.asarray(label, dtype=np.float64), np.asarray(p, dtype=np.float64)
    weight = prior_weights(truth, prior)
    plots = {
        "precision_recall": _precision_recall,
        "reliability": _reliability,
        "confusion": _confusion,
        "risk_coverage": _risk_coverage,
    }
    with new_folder(folder) as partial:
        for name, draw in plots.items():
            figure, axes = new_figure()
            draw(axes, truth, score, weight)
            axes.set_title(f"{title}, n = {len(truth)}, {describe_prior(prior)}", fontsize=9)
            save_figure(figure, partial / f"{name}.png")


def precision_recall(label: Floats, p: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Precision and recall at every cut, from the strictest on; tied scores share a point. `weight` is (n,)."""
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum((weight * label)[order])
    last = np.append(np.diff(p[order]) != 0, True)
    hits, taken = hits[last], np.cumsum(weight[order])[last]
    return hits / taken, hits / (float((weight * label).sum()) or 1.0)


def risk_coverage(label: Floats, p: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Coverage and share of wrong answers when only the most certain are answered (El-Yaniv and Wiener 2010).

    Both are shares of the weights, (n,).
    """
    order = np.argsort(-np.abs(p - 0.5), kind="stable")
    wrong = (weight * ((p > 0.5) != (label == 1)))[order]
    answered = np.cumsum(weight[order])
    return answered / answered[-1], np.cumsum(wrong) / answered


def new_figure(width: float = INCHES[0], height: float = INCHES[1]) -> tuple[Figure, Axes]:
    """Give a figure of so many inches, and its axes; no window is involved."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as figure_class

    figure = figure_class(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG in one step."""
    stream = io.BytesIO()
    # the version of matplotlib would be the only thing to differ
    figure.savefig(stream, format="png", metadata={"Software": None})
    write_bytes(path, stream.getvalue())


def _precision_recall(axes: Axes, label: Floats, p: Floats, weight: Floats) -> None:
    precision, recall = precision_recall(label, p, weight)
    axes.step(recall, precision, where="post")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    axes.grid(alpha=0.3)


def _reliability(axes: Axes, label: Floats, p: Floats, weight: Floats) -> None:
    """Weighted means of a bin; the number beside a point counts its pictures."""
    index = np.minimum((p * BINS).astype(int), BINS - 1)
    count = np.bincount(index, minlength=BINS)
    full = count > 0
    whole, said, true = (
        np.bincount(index, weights=values, minlength=BINS)[full] for values in (weight, weight * p, weight * label)
    )
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
    axes.plot(said / whole, true / whole, marker="o")
    for x, y, n in zip(said / whole, true / whole, count[full], strict=True):
        axes.annotate(str(n), (x, y), textcoords="offset points", xytext=(5, -9), fontsize=7)
    axes.set(xlabel="probability said", ylabel="share of roadwork", xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)


def _confusion(axes: Axes, label: Floats, p: Floats, weight: Floats) -> None:
    """Counts of pictures, and below them their shares by weight, which are the colour."""
    guess = p > 0.5
    rows = [[(label == truth) & (guess == said) for said in (0, 1)] for truth in (0, 1)]
    shares = np.array([[weight[cell].sum() / weight.sum() for cell in row] for row in rows])
    axes.imshow(shares, cmap="Blues", vmin=0)
    for (truth, said), share in np.ndenumerate(shares):
        color = "white" if share > shares.max() / 2 else "black"
        text = f"{rows[truth][said].sum()}\n{share:.1%}"
        axes.text(said, truth, text, ha="center", va="center", color=color)
    axes.set(xlabel="said", ylabel="true", xticks=[0, 1], yticks=[0, 1], xticklabels=LABELS, yticklabels=LABELS)


def _risk_coverage(axes: Axes, label: Floats, p: Floats, weight: Floats) -> None:
    coverage, risk = risk_coverage(label, p, weight)
    axes.plot(coverage, risk)
    axes.set(xlabel="share answered, most certain first", ylabel="share wrong among them", xlim=(0, 1.01))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
