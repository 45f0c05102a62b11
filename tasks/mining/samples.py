"""A picture as a sample of the FiftyOne dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.probability import LABELS, label_of
from tasks.mining.media import media_file

PREDICTION, TRUTH = "prediction", "ground_truth"
CANDIDATE = "candidate"


@dataclass(frozen=True)
class FiftyOneSample:
    """What is known of one picture, for its sample.

    Attributes:
        sha256: of the file under `media_file`.
        part: "candidate", or the split that it belongs to: "challenge", "calibration" or "train".
        place: split key.
        origin: where it came from.
        reason: why it is in the dataset.
        probability: of roadwork, by the probe.
        vector: its embedding, (d,).
        label: 0 or 1 where it is known, else None.
    """

    sha256: str
    part: str
    place: str
    origin: str
    reason: str
    probability: float
    vector: NDArray[np.float32]
    label: int | None = None


def to_sample(fo: Any, picture: FiftyOneSample, media: Path) -> Any:
    """Make the `fiftyone.Sample` that is added to the dataset.

    Args:
        fo: the module `fiftyone`, connected.
        picture: what is known of it.
        media: folder of its file.
    """
    path = str(media_file(picture.sha256, media).absolute())
    return fo.Sample(filepath=path, sha256=picture.sha256, tags=[picture.part], **field_values(fo, picture))


def field_values(fo: Any, picture: FiftyOneSample) -> dict[str, Any]:
    """The fields of a sample by name, as they are added to the dataset or brought up to date in it."""
    values = {
        "part": picture.part,
        "place": picture.place,
        "origin": picture.origin,
        "reason": picture.reason,
        PREDICTION: _prediction(fo, picture.probability),
        "embedding": picture.vector,
    }
    if picture.label is not None:
        values[TRUTH] = fo.Classification(label=LABELS[picture.label])
    return values


def _prediction(fo: Any, p: float) -> Any:
    safe = min(max(p, 1e-9), 1 - 1e-9)
    # logits whose softmax is (1 - p, p): hardness and mistakenness are computed from them
    logits = np.array([0.0, np.log(safe / (1 - safe))])
    return fo.Classification(label=label_of(p), confidence=max(p, 1 - p), logits=logits)
