"""What a detector is shown: seeded validator views with their boxes moved along, and some whole pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cascade.detection.boxes import letterbox
from tasks.data.views import LEVELS, VISIBLE, Geometry, View, make_view
from tasks.training.pictures import AnnotatedImage
from tasks.training.sampler import ShuffledSampler, generator, jitter

# px a side of what the validators send
VIEW = 224
# share of training samples that are the whole picture
WHOLE = 0.2
# px of the view: less is not a shape that anybody could name
MIN_SIDE = 3.0
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
    """What a detector is shown: `size` is its square's."""

    def __call__(self, index: int) -> DetectorInput:
        """Make sample `index`."""
        number, draw = self.key(index)
        picture = self.pictures[number]
        random = generator(f"{self.seed}:{picture.key}:{draw}")
        image = jitter(picture.load(), random)
        mirrored = bool(random.random() < 0.5)
        if random.random() < WHOLE:
            return whole(picture, image, self.size, mirrored=mirrored)
        view = View(int(random.choice(LEVELS)), draw, mirrored)
        return seen(picture, image, view, seed=self.seed, size=self.size)


def seen(picture: AnnotatedImage, image: Image.Image, view: View, *, seed: int, size: int) -> DetectorInput:
    """Make a validator's view of a picture, brought to the detector's size, with the boxes that are left in it."""
    pixels, geometry = make_view(image, view, key=picture.key, seed=seed, size=VIEW)
    corners, classes = _moved(picture, geometry)
    square, _ = letterbox(Image.fromarray(pixels), size)
    return DetectorInput(square, corners, classes)


def whole(picture: AnnotatedImage, image: Image.Image, size: int, *, mirrored: bool = False) -> DetectorInput:
    """Fit the whole picture, as `streetvision predict` on a photograph does."""
    corners = picture.corners
    if mirrored:
        image = ImageOps.mirror(image)
        corners = np.stack([image.width - corners[:, 2], corners[:, 1], image.width - corners[:, 0], corners[:, 3]], 1)
    square, placement = letterbox(image, size)
    return DetectorInput(square, placement.into(corners) / size, picture.classes)


def _moved(picture: AnnotatedImage, geometry: Geometry) -> tuple[Floats, NDArray[np.int64]]:
    """The boxes that a view still shows, as shares of the view."""
    side, kept, classes = geometry.crop[2], [], []
    for corners, index in zip(picture.corners, picture.classes, strict=True):
        if geometry.visible([*corners[:2], *(corners[2:] - corners[:2])]) < VISIBLE:
            continue
        box = _turned(corners, geometry).clip(0, side) / side
        if (box[2:] - box[:2]).min() * VIEW >= MIN_SIDE:
            kept.append(box)
            classes.append(index)
    return np.array(kept, dtype=np.float64).reshape(-1, 4), np.array(classes, dtype=np.int64)


def _turned(corners: Floats, geometry: Geometry) -> Floats:
    """The upright box around a turned one.

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
