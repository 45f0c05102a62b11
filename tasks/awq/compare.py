"""Compare the answers of a quantized checkpoint with those of its source, and hold them against the limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.evaluate.prior import prior_weights
from cascade.evaluate.scores import mcc
from cascade.probability import CUT
from cascade.vlm.base import VlmAnswer
from cascade.vlm.settings import VlmSettings
from tasks.awq.reading import CheckpointAnswers

if TYPE_CHECKING:
    from tasks.config.quantize import QuantizeLimits


def compare(
    source: CheckpointAnswers,
    quantized: CheckpointAnswers,
    settings: VlmSettings,
    labels: NDArray[np.int64],
    *,
    prior: float | None,
) -> dict[str, Any]:
    """Compare the answers of two checkpoints.

    Args:
        source: of the model in 16 bits.
        quantized: of its AWQ checkpoint.
        settings: their scaling, the same for both.
        labels: of the pictures, (pictures,).
        prior: share of roadwork that the MCC is for. The other figures are of pictures, whatever they show.

    Returns:
        `cosine` (worst and mean picture), `perplexity`, `agreement` (of pictures that both answer), `lost` (share that
        the source alone answers), `mcc` (an abstention is no yes), `logit_shift` and `abstained`.
    """
    cosines = [cosine(first, second) for first, second in zip(source.scores, quantized.scores, strict=True)]
    decided = [_decisions(one.answers, settings) for one in (source, quantized)]
    both = (decided[0] >= 0) & (decided[1] >= 0)
    figures = {
        "cosine": {"worst": min(cosines), "mean": float(np.mean(cosines))},
        "perplexity": _perplexity(source, quantized),
        "agreement": float(np.mean(decided[0][both] == decided[1][both])) if both.any() else 0.0,
        "lost": float(np.mean((decided[0] >= 0) & (decided[1] < 0))),
        "mcc": _mcc(labels, decided, prior_weights(labels, prior)),
        "logit_shift": _logit_shift(source.answers, quantized.answers),
        "abstained": {"source": int(np.sum(decided[0] < 0)), "quantized": int(np.sum(decided[1] < 0))},
    }
    found: dict[str, Any] = rounded(figures)
    return found


def cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Cosine of two rows of logits with their means taken off, which no constant added to either changes.

    A logit that one of them does not know, NaN, counts as the least that it does know; tokens unknown to both are left
    out. A constant row, or one without numbers, is like no other: 0.

    Args:
        first: (tokens,).
        second: (tokens,), perhaps of another number of tokens.
    """
    if not (np.isfinite(first).any() and np.isfinite(second).any()):
        return 0.0
    size = max(len(first), len(second))
    padded = [np.pad(row.astype(float), (0, size - len(row)), constant_values=np.nan) for row in (first, second)]
    known = np.isfinite(padded[0]) | np.isfinite(padded[1])
    rows = [np.where(np.isfinite(row), row, row[np.isfinite(row)].min())[known] for row in padded]
    one, other = (row - row.mean() for row in rows)
    scale = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / scale if scale else 0.0


def _decisions(answers: Sequence[VlmAnswer], settings: VlmSettings) -> NDArray[np.int64]:
    """1 yes, 0 no, -1 abstained, (n,); the cut lies where the VLM's scaling puts it."""
    return np.array([-1 if a.logit is None else int(settings.scaling(a.logit) > CUT) for a in answers], dtype=np.int64)


def _perplexity(source: CheckpointAnswers, quantized: CheckpointAnswers) -> dict[str, float]:
    before, after = float(np.exp(source.loss)), float(np.exp(quantized.loss))
    return {"source": before, "quantized": after, "ratio": after / before}


def _mcc(
    labels: NDArray[np.int64], decided: Sequence[NDArray[np.int64]], weight: NDArray[np.float64]
) -> dict[str, float]:
    before, after = (mcc(labels, one == 1, weight) for one in decided)
    return {"source": before, "quantized": after, "loss": before - after}


def _logit_shift(first: Sequence[VlmAnswer], second: Sequence[VlmAnswer]) -> float:
    """Mean change of the log-odds, on the pictures that both answer."""
    pairs = [(one.logit, other.logit) for one, other in zip(first, second, strict=True)]
    shifts = [abs(one - other) for one, other in pairs if one is not None and other is not None]
    return float(np.mean(shifts)) if shifts else 0.0


def rounded(figures: Any) -> Any:
    """Round all numbers to six digits; beyond them the order of sums shows."""
    if isinstance(figures, dict):
        return {name: rounded(value) for name, value in figures.items()}
    return round(figures, 6) if isinstance(figures, float) else figures


def verdict(found: dict[str, Any], limits: QuantizeLimits) -> list[str]:
    """Each limit that is broken, in words; none: the checkpoint may be used. A figure that is NaN breaks its limit.

    Args:
        found: figures of `tasks.awq.examine.examine`.
        limits: section `quantize.limits`.
    """
    given = limits.model_dump()
    tests = {
        "min_cosine": found["cosine"]["worst"],
        "min_agreement": found["agreement"],
        "max_perplexity_ratio": found["perplexity"]["ratio"],
        "max_lost": found["lost"],
        "max_mcc_loss": found["mcc"]["loss"],
        "max_size_ratio": found["bytes"]["ratio"],
        "max_group_error": found["group_error"]["worst"],
    }
    broken = []
    for name, value in tests.items():
        kept = value >= given[name] if name.startswith("min_") else value <= given[name]
        if not kept:
            broken.append(f"{name} is {given[name]}, found {value}")
    return broken
