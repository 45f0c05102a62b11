"""Two groups of pictures compared by permutation tests: embeddings, probabilities, and where they left the cascade.

Under the hypothesis that both groups come from one source, every division of the pooled pictures is as likely as the
one that was seen, so the share of divisions with at least its statistic is a p-value without any further assumption
(Phipson and Smyth 2010 for the added 1). That needs exchangeable pictures, which neighbours in time are not: they show
the same street. So pictures are permuted in blocks of neighbours, as for any dependent series (Good 2005, chapter 9).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# statistics of `rows` divisions: a boolean matrix (rows, pictures), True for the first group, to (rows,)
Statistic = Callable[[NDArray[np.bool_]], Floats]
SIGNALS = ("embedding", "confidence", "exits")
ROUNDING = 1e-12


@dataclass(frozen=True)
class Pictures:
    """What is compared of n pictures.

    Attributes:
        embedding: of any float type, (n, d).
        probability: of roadwork, 0 to 1, (n,).
        exits: the stage that decided and its label, one word a picture.
    """

    embedding: NDArray[np.floating]
    probability: Floats
    exits: Sequence[str]

    def __len__(self) -> int:
        return len(self.probability)


@dataclass(frozen=True)
class Signal:
    """One statistic.

    Attributes:
        score: squared MMD, Kolmogorov-Smirnov distance, or total variation distance.
        p: corrected for the number of signals: the least of all is below x with probability x at most.
    """

    score: float
    p: float


def compare(
    first: Pictures, second: Pictures, permutations: int, *, block: int = 1, seed: int = 0
) -> Mapping[str, Signal]:
    """Test each signal.

    Args:
        first: the reference, in the order of arrival.
        second: of the same dimensions, in the order of arrival.
        permutations: divisions at random.
        block: neighbours that stay together in a division; 1 where pictures come from independent places.
        seed: of the divisions.

    Returns:
        A signal each of `SIGNALS`.
    """
    statistics = {
        "embedding": mmd(np.concatenate([first.embedding, second.embedding])),
        "confidence": kolmogorov_smirnov(np.concatenate([first.probability, second.probability])),
        "exits": total_variation([*first.exits, *second.exits]),
    }
    divisions = _divisions(len(first), len(second), permutations, block, seed)
    scores, raw = [], []
    for name in SIGNALS:
        values = statistics[name](divisions)
        scores.append(float(values[0]))
        # the seen division is the first row, and counts as one of them
        raw.append(float((values >= values[0] - ROUNDING).mean()))
    return {name: Signal(*one) for name, *one in zip(SIGNALS, scores, holm(raw), strict=True)}


def _divisions(first: int, second: int, permutations: int, block: int, seed: int) -> NDArray[np.bool_]:
    """The division that was seen, then those at random: (1 + permutations, first + second)."""
    before, after = np.arange(first) // block, np.arange(second) // block
    before_count = -(-first // block)
    of_picture = np.concatenate([before, before_count + after])
    seen = np.arange(before_count + -(-second // block)) < before_count
    shuffled = np.random.default_rng(seed).permuted(np.tile(seen, (permutations, 1)), axis=1)
    return np.vstack([seen, shuffled])[:, of_picture]


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values for their number, whatever their dependence (Holm 1979)."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable").tolist()):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def mmd(embedding: NDArray[np.floating]) -> Statistic:
    """Squared maximum mean discrepancy, unbiased, with a Gaussian kernel (Gretton et al. 2012, equation 3).

    Args:
        embedding: of both groups, (n, d).
    """
    kernel = gaussian(embedding)
    np.fill_diagonal(kernel, 0.0)
    total = kernel.sum()

    def statistic(divisions: NDArray[np.bool_]) -> Floats:
        first = divisions.astype(np.float64)
        n, m = first.sum(axis=1), (1 - first).sum(axis=1)
        rows = first @ kernel
        within = (rows * first).sum(axis=1)
        across = rows.sum(axis=1) - within
        alike = within / (n * (n - 1)) + (total - within - 2 * across) / (m * (m - 1))
        return np.asarray(alike - 2 * across / (n * m), dtype=np.float64)

    return statistic


def gaussian(embedding: NDArray[np.floating]) -> Floats:
    """Kernel of all pairs, (n, n); its width is the median distance of all, which no division changes."""
    distance = squared_distances(embedding)
    width = np.median(distance[np.triu_indices(len(distance), 1)])
    return np.exp(-distance / max(float(width), ROUNDING))


def squared_distances(embedding: NDArray[np.floating]) -> Floats:
    """Of all pairs, (n, n), after each dimension was standardized over both groups."""
    rows = np.asarray(embedding, dtype=np.float64)
    spread = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(spread > 1e-6, spread, 1.0)
    square = (rows**2).sum(axis=1)
    return np.asarray(np.maximum(square[:, None] + square[None] - 2 * rows @ rows.T, 0.0), dtype=np.float64)


def kolmogorov_smirnov(values: Floats) -> Statistic:
    """Largest distance between the distribution functions of two groups; equal values count together."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    last_of_its_value = np.append(ordered[1:] != ordered[:-1], True)

    def statistic(divisions: NDArray[np.bool_]) -> Floats:
        first = divisions[:, order]
        n = first.sum(axis=1, keepdims=True)
        here, there = np.cumsum(first, axis=1) / n, np.cumsum(~first, axis=1) / (first.shape[1] - n)
        return np.asarray(np.abs(here - there)[:, last_of_its_value].max(axis=1), dtype=np.float64)

    return statistic


def total_variation(words: Sequence[str]) -> Statistic:
    """Half the sum of the differences between the shares of each word in two groups, 0 to 1."""
    _, index = np.unique(np.asarray(words, dtype=object).astype(str), return_inverse=True)
    each = np.eye(int(index.max()) + 1)[index]
    total = each.sum(axis=0)

    def statistic(divisions: NDArray[np.bool_]) -> Floats:
        counts = divisions.astype(np.float64) @ each
        n = counts.sum(axis=1, keepdims=True)
        shares = np.abs(counts / n - (total - counts) / (len(index) - n))
        return np.asarray(0.5 * shares.sum(axis=1), dtype=np.float64)

    return statistic


def moved(first: Pictures, second: Pictures) -> Floats:
    """How much more each picture of the second group resembles its own group than the first one, (m,).

    The witness function of the maximum mean discrepancy at that picture (Gretton et al. 2012, section 2.3).
    """
    kernel = gaussian(np.concatenate([first.embedding, second.embedding]))
    np.fill_diagonal(kernel, 0.0)
    n, m = len(first), len(second)
    return np.asarray(kernel[n:, n:].sum(axis=1) / max(m - 1, 1) - kernel[n:, :n].mean(axis=1), dtype=np.float64)
