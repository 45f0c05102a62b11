"""What the backbone is adapted on: seeded validator views with their label, and where the works lie in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.config.learn import CameraParams
from tasks.data.annotated_images import AnnotatedImage
from tasks.data.views import LEVELS, View, generator, make_view
from tasks.training.balance import Balance
from tasks.training.camera import as_another_camera, jitter
from tasks.training.sampler import ShuffledSampler


@dataclass(frozen=True)
class TrainingView:
    """One view.

    Attributes:
        pixels: uint8 RGB, (size, size, 3).
        label: 0 none, 1 roadwork.
        cover: share of each patch under a labelled box, (patches,); NaN where nobody drew boxes.
        weight: in the loss, 1 on average over an epoch.
    """

    pixels: NDArray[np.uint8]
    label: int
    cover: NDArray[np.float32]
    weight: float = 1.0


class LabelledViews(ShuffledSampler):
    """Labelled views at random levels.

    Args:
        pictures: of the training split.
        seed: of the run.
        size: px a side of a view.
        cells: patches a side.
        colour_jitter: see `tasks.training.sampler.jitter`.
        camera: changes as another camera would make them; None for none.
        draws: views of a picture before they come again; None: a picture is never seen the same way twice.
        times: how often an epoch shows each picture; None for once.
        balance: how much each picture counts in the loss; None: all alike.
    """

    def __init__(
        self,
        pictures: list[AnnotatedImage],
        *,
        seed: int,
        size: int,
        cells: int,
        colour_jitter: float,
        camera: CameraParams | None = None,
        draws: int | None = None,
        times: Sequence[int] | None = None,
        balance: Balance | None = None,
    ) -> None:
        super().__init__(pictures, seed=seed, size=size, colour_jitter=colour_jitter, draws=draws, times=times)
        self._cells, self._camera = cells, camera
        shown = np.repeat(np.arange(len(pictures)), times or 1)
        self._weights = np.ones(len(pictures))
        self._weights[shown] = (balance or Balance()).of(
            [pictures[number].label for number in shown], [pictures[number].source for number in shown]
        )

    def __call__(self, index: int) -> TrainingView:
        """Make sample `index`."""
        number, draw = self.key(index)
        picture = self.pictures[number]
        random = generator(f"{self.seed}:{picture.key}:{draw}")
        image = jitter(picture.load(), random, self.colour_jitter)
        if self._camera is not None:
            image = as_another_camera(image, random, self._camera)
        view = View(int(random.choice(LEVELS)), draw, bool(random.random() < 0.5))
        pixels, geometry = make_view(image, view, key=picture.key, seed=self.seed, size=self.size)
        weight = float(self._weights[number])
        if picture.label and not len(picture.corners):
            return TrainingView(pixels, picture.label, np.full(self._cells**2, np.nan, dtype=np.float32), weight)
        objects = [{"bbox": [*box[:2], *(box[2:] - box[:2])]} for box in picture.corners]
        return TrainingView(pixels, picture.label, geometry.coverage(objects, self._cells), weight)
