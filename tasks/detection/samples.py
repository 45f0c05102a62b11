"""What a detector is shown: seeded validator views with their boxes moved along, and some whole pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cascade.detection.boxes import letterbox
from tasks.config.detect import DetectParams
from tasks.data.annotated_images import AnnotatedImage
from tasks.data.views import LEVELS, VISIBLE, Geometry, View, generator, make_view
from tasks.training.camera import jitter
from tasks.training.sampler import ShuffledSampler

VIEW = 224  # px a side of what the validators send
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DetectorInput:
    """One input of a detector.

    Attributes:
        pixels: uint8 RGB, (size, size, 3).
        corners: (k, 4), x1, y1, x2, y2 as shares of the square, 0 to 1.
        classes: (k,).
    """

    pixels: NDArray[np.uint8]
    corners: Floats
    classes: NDArray[np.int64]


class DetectorDataset(ShuffledSampler):
    """What a detector is shown in training.

    Args:
        pictures: of the training split.
        params: section `detect`.
        size: px a side of the detector's square.
        colour_jitter: see `tasks.training.sampler.jitter`.
        draws: how many different views of a picture there are; None for no end.
    """

    def __init__(
        self,
        pictures: list[AnnotatedImage],
        params: DetectParams,
        *,
        size: int,
        colour_jitter: float,
        draws: int | None = None,
    ) -> None:
        super().__init__(pictures, seed=params.seed, size=size, colour_jitter=colour_jitter, draws=draws)
        self._params = params

    def __call__(self, index: int) -> DetectorInput:
        """Make sample `index`."""
        number, draw = self.key(index)
        picture = self.pictures[number]
        random = generator(f"{self.seed}:{picture.key}:{draw}")
        image = jitter(picture.load(), random, self.colour_jitter)
        mirrored = bool(random.random() < 0.5)
        if random.random() < self._params.whole_share:
            return whole_input(picture, image, self.size, mirrored=mirrored)
        view = View(int(random.choice(LEVELS)), draw, mirrored)
        return view_input(picture, image, view, self._params, self.size)


def view_input(
    picture: AnnotatedImage, image: Image.Image, view: View, params: DetectParams, size: int
) -> DetectorInput:
    """Make a validator's view of a picture, brought to the detector's size, with the boxes that are left in it.

    Args:
        picture: whose boxes they are.
        image: the picture, RGB.
        view: which one.
        params: section `detect`.
        size: px a side.
    """
    pixels, geometry = make_view(image, view, key=picture.key, seed=params.seed, size=VIEW)
    corners, classes = _moved(picture, geometry, params.min_box)
    square, _ = letterbox(Image.fromarray(pixels), size)
    return DetectorInput(square, corners, classes)


def whole_input(picture: AnnotatedImage, image: Image.Image, size: int, *, mirrored: bool = False) -> DetectorInput:
    """Fit the whole picture into a square of `size` px, as `streetvision predict` on a photograph does."""
    corners = picture.corners
    if mirrored:
        image = ImageOps.mirror(image)
        corners = np.stack([image.width - corners[:, 2], corners[:, 1], image.width - corners[:, 0], corners[:, 3]], 1)
    square, placement = letterbox(image, size)
    return DetectorInput(square, placement.into(corners) / size, picture.classes)


def _moved(picture: AnnotatedImage, geometry: Geometry, min_box: float) -> tuple[Floats, NDArray[np.int64]]:
    """The boxes that a view still shows, as shares of the view, (k, 4), and their classes, (k,)."""
    side, kept, classes = geometry.crop[2], [], []
    for corners, index in zip(picture.corners, picture.classes, strict=True):
        if geometry.visible([*corners[:2], *(corners[2:] - corners[:2])]) < VISIBLE:
            continue
        box = _turned(corners, geometry).clip(0, side) / side
        if (box[2:] - box[:2]).min() * VIEW >= min_box:
            kept.append(box)
            classes.append(index)
    return np.array(kept, dtype=np.float64).reshape(-1, 4), np.array(classes, dtype=np.int64)


def _turned(corners: Floats, geometry: Geometry) -> Floats:
    """The upright box around a turned one: corners (4,) of the source to corners (4,) of the view.

    A turned rectangle needs more room than what was drawn in it, the ellipse in it less; things lie between, so does
    the box. Without rotation both are the box itself.
    """
    centre, half = (corners[:2] + corners[2:]) / 2, (corners[2:] - corners[:2]) / 2
    around = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ellipse = np.stack([np.cos(around), np.sin(around)])
    rectangle = np.array([[-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]])
    boxes = []
    for outline in (ellipse, rectangle):
        u, v = geometry.forward(centre[0] + half[0] * outline[0], centre[1] + half[1] * outline[1])
        boxes.append([u.min(), v.min(), u.max(), v.max()])
    return np.asarray(np.mean(boxes, axis=0))
