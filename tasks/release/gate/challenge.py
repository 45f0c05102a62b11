"""The challenge set as both releases see it: predictions of stage 1, and the picture behind each view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cascade.release.store import Release, read_classifier
from tasks.config import Params
from tasks.data.pictures import decode_stored
from tasks.data.schema import DataError, read_records, split_file
from tasks.data.views import View, level_views, make_view
from tasks.release.gate.store import entry_file, kept_predictions

if TYPE_CHECKING:
    from tasks.validation.predictions import ChallengePredictions

PULLED = Path("data/pulled")
PREDICTIONS = "tasks.validation.predictions"


@dataclass(frozen=True)
class Challenge:
    """The challenge set of a data folder.

    Attributes:
        file: parquet.
        keys: sha256 of each picture, in the order of the file.
        views: of each picture, in their order; predictions run over pictures first, then over these.
    """

    file: Path
    keys: tuple[str, ...]
    views: tuple[View, ...]

    def locate(self, index: int) -> tuple[str, View]:
        """The picture and the view of one prediction."""
        picture, view = divmod(index, len(self.views))
        return self.keys[picture], self.views[view]


def open_challenge(params: Params, pulled: Path) -> Challenge:
    """Read which pictures and views there are.

    Raises:
        DataError: the challenge set is missing or empty.
    """
    file = split_file(pulled, "challenge")
    if not file.is_file():
        raise DataError(f"{file}: no such file; `dvc repro pull_data` writes it")
    keys = tuple(row["sha256"] for row in read_records(file, ["sha256"]))
    if not keys:
        raise DataError(f"{file}: holds no pictures")
    return Challenge(file, keys, tuple(level_views(params.validate_.views)))


def predict(release: Release, challenge: Challenge, params: Params) -> ChallengePredictions:
    """Give the predictions of a release for all views, computed or out of the cache.

    Raises:
        DataError: the challenge set lacks a class.
        cascade.engines.base.EngineError: the engine cannot be run.
    """
    from tasks.validation.predictions import predict_challenge

    given = {name: getattr(params.validate_, name) for name in ("views", "seed", "batch")}
    file = entry_file(
        params.gate.store,
        "challenge",
        release,
        modules=[PREDICTIONS],
        inputs={"challenge": challenge.file},
        params=given,
    )
    return kept_predictions(file, lambda: predict_challenge(params.validate_, release.folder, challenge.file.parent))


def view_pixels(
    challenge: Challenge, indices: Sequence[int], *, seed: int, size: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Make the views behind some predictions, in the order of the file: index and uint8 RGB (size, size, 3)."""
    wanted: dict[int, list[int]] = {}
    for index in sorted(set(indices)):
        wanted.setdefault(index // len(challenge.views), []).append(index)
    for number, row in enumerate(read_records(challenge.file, ["sha256", "image"])):
        if number not in wanted:
            continue
        image = decode_stored(row["image"]["bytes"])
        for index in wanted[number]:
            key, view = challenge.locate(index)
            yield index, make_view(image, view, key=key, seed=seed, size=size)[0]


def spread_pixels(challenge: Challenge, release: Release, count: int, *, seed: int) -> NDArray[np.uint8]:
    """Views of level 0 of pictures spread evenly over the challenge set: uint8 RGB (at most count, size, size, 3)."""
    pictures = np.unique(np.linspace(0, len(challenge.keys) - 1, count).astype(int))
    size = read_classifier(release.folder).size
    indices = [int(picture) * len(challenge.views) for picture in pictures]
    return np.stack([pixels for _, pixels in view_pixels(challenge, indices, seed=seed, size=size)])
