"""The answers of a checkpoint to held-out pictures and texts, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.process.memory import Meter
from cascade.vlm.base import VlmAnswer
from cascade.vlm.local import LocalVlm
from cascade.vlm.settings import VlmSettings
from tasks.awq.backend import QuantizeError
from tasks.awq.samples import CalibrationView, calibration_views
from tasks.data.schema import read_records

if TYPE_CHECKING:
    from tasks.config import QuantizeParams

NO_LIMIT = 3600.0  # s; in service a call is cut off much earlier
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class CheckpointAnswers:
    """The answers of one checkpoint.

    Attributes:
        scores: log-probabilities of the answer's first token, (pictures, vocabulary); NaN where they are not known.
        answers: one a picture.
        loss: mean -log p of a token of the held-out texts.
        peak_bytes: the most memory that it took where it ran: RAM, or of the card as its driver counts it.
    """

    scores: NDArray[np.float32]
    answers: list[VlmAnswer]
    loss: float
    peak_bytes: int


@dataclass(frozen=True)
class CheckSamples:
    """The pictures and texts that both checkpoints are run on.

    Attributes:
        pictures: views of held-out pictures.
        texts: held-out texts, for perplexity.
        logit_images: number of the first pictures whose whole distribution is kept.
    """

    pictures: list[CalibrationView]
    texts: list[str]
    logit_images: int

    @property
    def labels(self) -> NDArray[np.int64]:
        """0 clear, 1 roadwork, (pictures,)."""
        return np.array([picture.label for picture in self.pictures], dtype=np.int64)


def check_samples(split: Path, params: QuantizeParams) -> CheckSamples:
    """Held-out pictures and texts: no checkpoint was calibrated on any of them.

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


def read_local(place: str, settings: VlmSettings, samples: CheckSamples) -> CheckpointAnswers:
    """Run a checkpoint in this process, as the VLM stage does.

    Args:
        place: folder of the model.
        settings: of the VLM.
        samples: pictures and texts.

    Raises:
        VlmError: it cannot be loaded.
    """
    vlm = LocalVlm(place, settings.model_copy(update={"time_limit_seconds": NO_LIMIT}))
    peak = _peak_of(settings.device)
    vlm.load()
    try:
        images, size = [picture.image for picture in samples.pictures], settings.batch_size
        answers, rows = list[VlmAnswer](), list[NDArray[np.float32]]()
        for first in tqdm(range(0, len(images), size), desc="answers", unit="batch"):
            scores, found = vlm.examine(images[first : first + size])
            answers += found
            # a vocabulary has 150,000 words, so that only the first rows are kept
            rows += list(scores[: max(0, samples.logit_images - len(rows))].float().cpu().numpy())
        total, count = vlm.text_loss(samples.texts)
        taken = peak()
    finally:
        vlm.close()
    return CheckpointAnswers(np.stack(rows), answers, total / max(count, 1), taken)


def _peak_of(device: str) -> Callable[[], int]:
    """Begin to measure; gives a function for the most bytes that were taken since then.

    Torch keeps what it once took of a card, so there the driver's count at the end is the peak.
    """
    if device != "cpu":
        return Meter(device).taken
    before = _reset_peak()
    return lambda: max(0, _peak() - before)


def _reset_peak() -> int:
    """Reset the peak of this process in the kernel, and give the bytes that it has now."""
    CLEAR.write_text("5", encoding="ascii")
    return _memory("VmRSS")


def _peak() -> int:
    return _memory("VmHWM")


def _memory(name: str) -> int:
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))
