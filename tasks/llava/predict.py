"""Run a VLM on a split and score its answers: for its scaling, its check and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.evaluate.scores import classification_scores
from cascade.vlm.backend import load_backend
from cascade.vlm.base import VlmAnswer
from cascade.vlm.settings import VlmSettings
from tasks.classifier.calibration import Calibration
from tasks.data.pictures import decode_stored
from tasks.data.schema import read_records
from tasks.data.views import LEVELS, View, make_view

if TYPE_CHECKING:
    from PIL import Image

SIDE = 224  # px of a view, as the validators send it
NO_LIMIT = 3600.0  # s; in service a call is cut off much earlier


@dataclass(frozen=True)
class VlmResponses:
    """The answers of a VLM on n views.

    Attributes:
        label: 0 clear, 1 roadwork, (n,).
        place: split key of each.
        answers: one a view.
    """

    label: NDArray[np.int64]
    place: list[str]
    answers: list[VlmAnswer]

    @property
    def logit(self) -> NDArray[np.float64]:
        """Raw log-odds, (n,); 0 where the VLM abstained."""
        return np.array([answer.logit or 0.0 for answer in self.answers], dtype=np.float64)


def predict_split(settings: VlmSettings, folder: Path, split: Path, *, seed: int, images: int | None) -> VlmResponses:
    """Run a VLM on seeded views of a split, one a picture; the levels take turns.

    Args:
        settings: of the VLM in `folder`.
        folder: see `cascade.vlm.backend.load_backend`.
        split: parquet file.
        seed: of the views.
        images: at most, spread evenly over the file; None: all.

    Raises:
        VlmError: the model cannot be loaded or served.
        DataError: the split is missing.
    """
    every = list(read_records(split, columns=["image", "label", "sha256", "place"]))
    rows = every if images is None else spread(every, images)
    unlimited = settings.model_copy(update={"time_limit_seconds": NO_LIMIT})
    backend = load_backend(folder, unlimited)
    answers: list[VlmAnswer] = []
    with closing(backend), tqdm(total=len(rows), desc="vlm", unit="view") as bar:
        backend.load()
        for batch in _batches(_views(rows, seed), settings.batch_size):
            answers += backend.run(batch)
            bar.update(len(batch))
    label = np.array([row["label"] for row in rows], dtype=np.int64)
    return VlmResponses(label, [row["place"] for row in rows], answers)


def spread(rows: list[Any], count: int) -> list[Any]:
    """At most `count` of the rows, at even distances."""
    return [rows[index * len(rows) // count] for index in range(count)] if count < len(rows) else rows


def _views(rows: list[dict[str, Any]], seed: int) -> Iterator[Image.Image]:
    """Validator-style views."""
    from PIL import Image

    for number, row in enumerate(rows):
        view = View(LEVELS[number % len(LEVELS)])
        image = decode_stored(row["image"]["bytes"])
        pixels, _ = make_view(image, view, key=row["sha256"], seed=seed, size=SIDE)
        yield Image.fromarray(pixels)


def _batches(pictures: Iterator[Image.Image], size: int) -> Iterator[list[Image.Image]]:
    while batch := list(islice(pictures, size)):
        yield batch


def scores(responses: VlmResponses, scaling: Calibration, *, prior: float | None) -> dict[str, Any]:
    """MCC and the rest at a prior, an abstention counted as a probability of one half.

    The mean mass and the kinds of answers are of the pictures as they are.
    """
    answers = responses.answers
    known = np.array([answer.logit is not None for answer in answers])
    p = np.where(known, scaling(responses.logit), 0.5)
    found = {name: round(value, 6) for name, value in classification_scores(responses.label, p, prior=prior).items()}
    kinds = Counter(answer.kind for answer in answers)
    return {**found, "mass": round(float(np.mean([answer.mass for answer in answers])), 6), "kinds": dict(kinds)}
