"""A VLM is asked about a split, and its answers are scored: for its scaling, its check and its report."""

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
from cascade.preprocess.image import decode
from cascade.vlm.backend import load_backend
from cascade.vlm.base import VlmAnswer
from cascade.vlm.settings import VlmSettings
from tasks.classifier.calibration import Calibration
from tasks.data.schema import read_records
from tasks.data.views import LEVELS, View, make_view

if TYPE_CHECKING:
    from PIL import Image

VIEW, ANY_SIZE, SEED = 224, 1 << 40, 20261122
TIME_LIMIT = 3600.0


@dataclass(frozen=True)
class VlmResponses:
    """Pictures and what the VLM said of them, in one order."""

    label: NDArray[np.int64]
    place: list[str]
    answers: list[VlmAnswer]

    @property
    def logit(self) -> NDArray[np.float64]:
        """Raw log-odds; an abstention counts as 0, for neither."""
        return np.array([answer.logit or 0.0 for answer in self.answers], dtype=np.float64)


def ask_split(settings: VlmSettings, folder: Path, split: Path, images: int, views: int = 1) -> VlmResponses:
    """Ask a VLM about seeded views of a split.

    Args:
        settings: of the VLM in `folder`.
        folder: see `cascade.vlm.backend.load_backend`.
        split: parquet file.
        images: at most, spread evenly over the file.
        views: levels an image is seen at: 4 for all, 1 for one by turns.
    """
    rows = spread(list(read_records(split, columns=["image", "label", "sha256", "place"])), images)
    # here nobody waits for an answer
    unlimited = settings.model_copy(update={"time_limit_seconds": TIME_LIMIT})
    backend = load_backend(folder, unlimited)
    answers: list[VlmAnswer] = []
    with closing(backend), tqdm(total=len(rows) * views, desc="vlm", unit="view") as bar:
        backend.load()
        for batch in _batches(_views(rows, views), settings.batch_size):
            answers += backend.run(batch)
            bar.update(len(batch))
    label = np.repeat(np.array([row["label"] for row in rows], dtype=np.int64), views)
    return VlmResponses(label, [row["place"] for row in rows for _ in range(views)], answers)


def spread(rows: list[Any], count: int) -> list[Any]:
    """At most `count` of the rows, at even distances."""
    return [rows[index * len(rows) // count] for index in range(count)] if count < len(rows) else rows


def _views(rows: list[dict[str, Any]], views: int) -> Iterator[Image.Image]:
    """Validator-style views; with one a picture the levels take turns."""
    from PIL import Image

    for number, row in enumerate(rows):
        image = decode(row["image"]["bytes"], max_pixels=ANY_SIZE, min_side=1)
        for turn in range(views):
            view = View(LEVELS[(number + turn) % len(LEVELS)])
            pixels, _ = make_view(image, view, key=row["sha256"], seed=SEED, size=VIEW)
            yield Image.fromarray(pixels)


def _batches(pictures: Iterator[Image.Image], size: int) -> Iterator[list[Image.Image]]:
    while batch := list(islice(pictures, size)):
        yield batch


def scores(seen: VlmResponses, scaling: Calibration) -> dict[str, Any]:
    """MCC and the rest, an abstention counted as a probability of one half, and the kinds of answers."""
    known = np.array([answer.logit is not None for answer in seen.answers])
    found = {
        name: round(value, 6)
        for name, value in classification_scores(seen.label, np.where(known, scaling(seen.logit), 0.5)).items()
    }
    kinds = Counter(answer.kind for answer in seen.answers)
    return {**found, "mass": round(float(np.mean([answer.mass for answer in seen.answers])), 6), "kinds": dict(kinds)}
