"""Images that engines are compared, calibrated and measured on: the calibration split, as the service sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.evaluate.prior import prior_weights
from cascade.preprocess.image import BadImage, decode
from cascade.preprocess.pixels import to_input
from tasks.data.schema import DataError, read_records, split_file

ANY_SIZE = 1 << 40


@dataclass(frozen=True)
class CalibrationImages:
    """Inputs of the classifier, in the order of their digests, with labels.

    Attributes:
        pixels: uint8 RGB (n, size, size, 3).
        label: (n,), 0 or 1.
        prior: share of roadwork that metrics on them are for; None for that of their labels.
    """

    pixels: NDArray[np.uint8]
    label: NDArray[np.int64]
    prior: float | None

    @property
    def weight(self) -> NDArray[np.float64]:
        """Of each image for the prior, (n,)."""
        return prior_weights(self.label, self.prior)

    def first(self, count: int) -> CalibrationImages:
        """The first `count`, or all."""
        return replace(self, pixels=self.pixels[:count], label=self.label[:count])

    def last(self, count: int) -> CalibrationImages:
        """The last `count`, or all."""
        return replace(self, pixels=self.pixels[-count:], label=self.label[-count:])


def calibration_images(pulled: Path, count: int, size: int, *, prior: float | None) -> CalibrationImages:
    """Read the calibration split's first images by digest, at most `count`, as squares of `size` px, for a prior.

    Raises:
        DataError: the split is missing or empty, or holds an image that cannot be read.
    """
    path = split_file(pulled, "calibration")
    if not path.is_file():
        raise DataError(f"{path}: no such file; `dvc repro pull_data` writes it")
    chosen = sorted(row["sha256"] for row in read_records(path, columns=["sha256"], batch=1024))[:count]
    if not chosen:
        raise DataError(f"{path}: holds no pictures to compare engines on")
    wanted, found = set(chosen), {}
    for row in read_records(path, columns=["image", "sha256", "label"]):
        if row["sha256"] in wanted:
            found[row["sha256"]] = (_pixels(row, path, size), int(row["label"]))
    pixels, label = zip(*(found[digest] for digest in chosen), strict=True)
    return CalibrationImages(np.stack(pixels), np.array(label), prior)


def _pixels(row: dict[str, Any], path: Path, size: int) -> NDArray[np.uint8]:
    try:
        return to_input(decode(row["image"]["bytes"], max_pixels=ANY_SIZE, min_side=1), size)
    except BadImage as error:
        raise DataError(
            f"{path}: picture {row['sha256'][:12]} cannot be read: {error}; engines are neither calibrated nor "
            "compared on broken pictures, `dvc repro pull_data` checks them"
        ) from None
