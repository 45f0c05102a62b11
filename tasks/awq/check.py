"""Read a checkpoint again and hold it against its source: what both say of the same pictures and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.evaluate.scores import mcc
from cascade.vlm.base import VlmAnswer
from cascade.vlm.local import LocalVlm
from cascade.vlm.settings import VlmSettings
from tasks.awq.backend import QuantizeError
from tasks.awq.samples import CalibrationView, calibration_views
from tasks.data.schema import read_records

if TYPE_CHECKING:
    from tasks.config import QuantizeParams
    from tasks.config.quantize import QuantizeLimits

# nobody waits for an answer here
PATIENCE = 3600.0
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class CheckpointAnswers:
    """What one checkpoint said.

    Attributes:
        scores: log-probabilities of the answer's first token, (pictures, vocabulary); NaN where they are not known.
        answers: one a picture.
        loss: mean -log p of a token of the held-out texts.
        peak_bytes: the most memory that reading took.
    """

    scores: NDArray[np.float32]
    answers: list[VlmAnswer]
    loss: float
    peak_bytes: int


@dataclass(frozen=True)
class CheckSamples:
    """What is asked of both; the first `logit_images` pictures in more depth."""

    pictures: list[CalibrationView]
    texts: list[str]
    logit_images: int

    @property
    def labels(self) -> NDArray[np.int64]:
        """0 or 1, (pictures,)."""
        return np.array([picture.label for picture in self.pictures], dtype=np.int64)


def questions(split: Path, params: QuantizeParams) -> CheckSamples:
    """Held-out pictures and texts: none of them was calibrated on.

    Raises:
        QuantizeError: the split has no scene descriptions.
        DataError: it cannot be read.
    """
    texts: list[str] = []
    for row in read_records(split, columns=["scene_description"]):
        if len(texts) == params.check.texts:
            break
        if row["scene_description"] and row["scene_description"] not in texts:
            texts.append(row["scene_description"])
    if not texts:
        raise QuantizeError(f"{split}: no scene descriptions, so there is no text to measure perplexity on")
    return CheckSamples(
        list(calibration_views(split, params.check.images, params.seed)), texts, params.check.logit_images
    )


def read_local(place: str, settings: VlmSettings, asked: CheckSamples) -> CheckpointAnswers:
    """Ask a checkpoint in this process, as the VLM does.

    Args:
        place: folder of the model.
        settings: of the VLM.
        asked: pictures and texts.

    Raises:
        VlmError: it cannot be loaded.
    """
    vlm = LocalVlm(place, settings.model_copy(update={"time_limit_seconds": PATIENCE}))
    before = _reset_peak()
    vlm.load()
    try:
        images, size = [picture.image for picture in asked.pictures], settings.batch_size
        answers, rows = list[VlmAnswer](), list[NDArray[np.float32]]()
        for first in tqdm(range(0, len(images), size), desc="answers", unit="batch"):
            scores, said = vlm.examine(images[first : first + size])
            answers += said
            # of a vocabulary of 150,000 words not every picture's row is kept
            rows += list(scores[: max(0, asked.logit_images - len(rows))].float().cpu().numpy())
        total, count = vlm.text_loss(asked.texts)
    finally:
        vlm.close()
    return CheckpointAnswers(np.stack(rows), answers, total / max(count, 1), max(0, _peak() - before))


def _reset_peak() -> int:
    """Let the kernel forget the most memory that this process had, and give what it has now."""
    CLEAR.write_text("5", encoding="ascii")
    return _memory("VmRSS")


def _peak() -> int:
    return _memory("VmHWM")


def _memory(name: str) -> int:
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def compare(
    source: CheckpointAnswers, quantized: CheckpointAnswers, settings: VlmSettings, labels: NDArray[np.int64]
) -> dict[str, Any]:
    """Put two readings side by side.

    Args:
        source: of the model in 16 bits.
        quantized: of its AWQ checkpoint.
        settings: their scaling, the same for both.
        labels: of the pictures, (pictures,).

    Returns:
        `cosine` (worst and mean picture), `perplexity`, `agreement` (of pictures that both answer), `lost` (share that
        the source alone answers), `mcc` (an abstention is no yes), `logit_shift` and `abstained`.
    """
    cosines = [cosine(first, second) for first, second in zip(source.scores, quantized.scores, strict=True)]
    said = [_said(reading.answers, settings) for reading in (source, quantized)]
    both = (said[0] >= 0) & (said[1] >= 0)
    merits = [mcc(labels, one == 1) for one in said]
    shifts = [
        abs(first.logit - second.logit)
        for first, second in zip(source.answers, quantized.answers, strict=True)
        if first.logit is not None and second.logit is not None
    ]
    perplexities = [float(np.exp(reading.loss)) for reading in (source, quantized)]
    figures = {
        "cosine": {"worst": min(cosines), "mean": float(np.mean(cosines))},
        "perplexity": {
            "source": perplexities[0], "quantized": perplexities[1], "ratio": perplexities[1] / perplexities[0],
        },
        "agreement": float(np.mean(said[0][both] == said[1][both])) if both.any() else 0.0,
        "lost": float(np.mean((said[0] >= 0) & (said[1] < 0))),
        "mcc": {"source": merits[0], "quantized": merits[1], "loss": merits[0] - merits[1]},
        "logit_shift": float(np.mean(shifts)) if shifts else 0.0,
        "abstained": {"source": int(np.sum(said[0] < 0)), "quantized": int(np.sum(said[1] < 0))},
    }  # fmt: skip
    found: dict[str, Any] = rounded(figures)
    return found


def cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Cosine of two rows of logits with their means taken off, which no constant added to either changes.

    What one of them does not know, NaN, counts as the least that it does know; tokens unknown to both are left out. A
    row that says nothing, or no number, is like no other: 0.
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


def _said(answers: Sequence[VlmAnswer], settings: VlmSettings) -> NDArray[np.int64]:
    """1 yes, 0 no, -1 abstained; the cut lies where the VLM's scaling puts it."""
    return np.array([-1 if a.logit is None else int(settings.scaling(a.logit) > 0.5) for a in answers], dtype=np.int64)


def rounded(figures: Any) -> Any:
    """Six digits: what differs beyond them is the order of sums."""
    if isinstance(figures, dict):
        return {name: rounded(value) for name, value in figures.items()}
    return round(figures, 6) if isinstance(figures, float) else figures


def verdict(found: dict[str, Any], limits: QuantizeLimits) -> list[str]:
    """Each limit that is not kept, in words; none: the checkpoint may be used. What is no number keeps no limit."""
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
