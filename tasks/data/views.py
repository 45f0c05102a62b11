"""What a picture looks like when a validator of the subnet sends it: four levels, seeded.

Levels as in natix/utils/image_transforms.py of the subnet; every view ends as the JPEG that goes over the wire.
Numpy and Pillow only; the same image, seed and view give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cascade.preprocess.tta import TtaView, tta_views
from cascade.preprocess.pixels import square

if TYPE_CHECKING:
    from numpy.random import Generator

LEVELS = (0, 1, 2, 3)
DEGREES = 20.0
MIN_SCALE = 0.2
TRIES = 10
# strengths 1 and 2 of the DeeperForensics distortions that the validators use; strength 0 leaves the picture alone
SATURATION = {1: 0.4, 2: 0.3}
CONTRAST = {1: 0.85, 2: 0.725}
SHRINK = {1: 2, 2: 3}
NOISE = {1: 0.001, 2: 0.002}
BLUR = {1: 7, 2: 9}
WIRE_QUALITY = 75
# a box counts as left in the picture when at least this share of it is
VISIBLE = 0.25
GRID = 8
FINE = 24
Lattice = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """One view to make.

    Attributes:
        level: 0 to 3.
        draw: which of several random views of that level.
        mirrored: swapped left and right beforehand: traffic keeps left elsewhere, and a picture must not be seen twice.
        other_camera: the picture is changed beforehand as another camera would have taken it.
        tta: the augmented view (`cascade.preprocess.tta.tta_views`) of what was received; None for the view itself.
    """

    level: int
    draw: int = 0
    mirrored: bool = False
    tta: TtaView | None = None
    other_camera: bool = False

    @property
    def name(self) -> str:
        """A short unique name, part of a feature's key."""
        return self.sent if self.tta is None else f"{self.sent}+{self.tta}"

    @property
    def sent(self) -> str:
        """The name of what goes over the wire, whatever test-time augmentation makes of it."""
        return f"{self.level}.{self.draw}{'m' if self.mirrored else ''}{'c' if self.other_camera else ''}"


@dataclass(frozen=True)
class Geometry:
    """From source pixels to view pixels: rotate about the centre by `angle` degrees, then cut `crop` and resize.

    Attributes:
        width, height: of the source, px.
        angle: counter-clockwise, degrees.
        crop: left, top, side, px of the rotated picture.
        mirrored: whether the source was swapped left and right first.
    """

    width: int
    height: int
    angle: float
    crop: tuple[float, float, float]
    mirrored: bool

    def coverage(self, objects: Sequence[Mapping[str, Any]], cells: int) -> NDArray[np.float32]:
        """Give the share of each of cells x cells squares of the view that labelled boxes cover: (cells * cells,)."""
        covered = np.zeros((cells, cells), dtype=np.float32)
        for item in objects:
            left, top, wide, high = item["bbox"]
            u, v = self.forward(*self._lattice(left, top, wide, high, FINE))
            inside = (u >= 0) & (u < self.crop[2]) & (v >= 0) & (v < self.crop[2])
            cell = self.crop[2] / cells
            where = ((v[inside] / cell).astype(int), (u[inside] / cell).astype(int))
            np.add.at(covered, where, wide * high / FINE**2 / cell**2)
        return covered.clip(0, 1).reshape(-1)

    def visible(self, bbox: Sequence[float]) -> float:
        """Give the share of a box, [x, y, w, h] in source px, that the view still shows."""
        left, top, wide, high = bbox
        x, y = self._lattice(left, top, wide, high, GRID)
        inside_source = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        u, v = self.forward(x, y)
        side = self.crop[2]
        return float(np.mean(inside_source & (u >= 0) & (u < side) & (v >= 0) & (v < side)))

    @staticmethod
    def _lattice(left: float, top: float, wide: float, high: float, count: int) -> tuple[Lattice, Lattice]:
        """Points spread evenly over a box of the source."""
        steps = (np.arange(count) + 0.5) / count
        x, y = np.meshgrid(left + steps * wide, top + steps * high)
        return x, y

    def forward(self, x: Lattice, y: Lattice) -> tuple[Lattice, Lattice]:
        """Source pixels to pixels of the crop, before it is resized: two arrays of the shape that came in."""
        x = self.width - x if self.mirrored else x
        turn = np.deg2rad(self.angle)
        dx, dy = x - self.width / 2, y - self.height / 2
        u = dx * np.cos(turn) + dy * np.sin(turn) + self.width / 2 - self.crop[0]
        v = -dx * np.sin(turn) + dy * np.cos(turn) + self.height / 2 - self.crop[1]
        return u, v


def training_views(count: int) -> list[View]:
    """Cycle over the levels; every second round is mirrored and begins with the hardest. At least the plain picture."""
    rounds = [divmod(number, len(LEVELS)) for number in range(max(count, 1))]
    return [View(LEVELS[::-1][level] if turn % 2 else level, turn, turn % 2 == 1) for turn, level in rounds]


def other_camera_views(seen: int, count: int) -> list[View]:
    """Give the `count` views that follow upon `seen` training views, of the picture as other cameras would take it."""
    return [replace(view, other_camera=True) for view in training_views(seen + count)[seen:]]


def level_views(draws: int) -> list[View]:
    """Give `draws` views of every level, as the challenge and calibration sets use them."""
    return [View(level, draw) for level in LEVELS for draw in range(draws)]


def augmented_views(views: Sequence[View], kinds: Sequence[TtaView]) -> list[View]:
    """Give the augmented views of each view, those of one of them side by side."""
    return [replace(view, tta=kind) for view in views for kind in kinds]


def make_view(image: Image.Image, view: View, *, key: str, seed: int, size: int) -> tuple[NDArray[np.uint8], Geometry]:
    """Make one view of an RGB image.

    Args:
        image: decoded and upright.
        view: which one.
        key: names the image (its sha256), so that two images never share their random numbers.
        seed: of the run.
        size: px a side.

    Returns:
        uint8 RGB of shape (size, size, 3), and where it was taken from.
    """
    random = generator(f"{seed}:{key}:{view.sent}")
    source = ImageOps.mirror(image) if view.mirrored else image
    if view.level == 0:
        geometry, picture = _centre(image, view), square(source, size)
    else:
        geometry = _geometry(image, view, random)
        picture = _distort(_cut(source, geometry, size), view.level, random)
    received = _over_the_wire(picture)
    return received if view.tta is None else tta_views(received[None], [view.tta])[0, 0], geometry


def answerable(objects: Sequence[Mapping[str, Any]], geometry: Geometry) -> bool:
    """Whether at least one labelled box is left in the view."""
    return any(geometry.visible(item["bbox"]) >= VISIBLE for item in objects)


def generator(text: str) -> Generator:
    """Random numbers that depend on a name alone."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")))


def _centre(image: Image.Image, view: View) -> Geometry:
    side = min(image.size)
    crop = ((image.width - side) // 2, (image.height - side) // 2, side)
    return Geometry(image.width, image.height, 0.0, crop, view.mirrored)


def _geometry(image: Image.Image, view: View, random: Generator) -> Geometry:
    """Angle, then torchvision's RandomResizedCrop at ratio 1: ten tries, then the centred square."""
    angle = float(random.uniform(-DEGREES, DEGREES))
    for _ in range(TRIES):
        side = round(float(np.sqrt(image.width * image.height * random.uniform(MIN_SCALE, 1.0))))
        if 0 < side <= min(image.size):
            left = int(random.integers(0, image.width - side + 1))
            top = int(random.integers(0, image.height - side + 1))
            return Geometry(image.width, image.height, angle, (left, top, side), view.mirrored)
    centred = _centre(image, view)
    return Geometry(image.width, image.height, angle, centred.crop, view.mirrored)


def _cut(image: Image.Image, geometry: Geometry, size: int) -> Image.Image:
    # the validators rotate with nearest neighbours and leave the corners black
    turned = image.rotate(geometry.angle, Image.Resampling.NEAREST)
    left, top, side = geometry.crop
    return turned.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _distort(image: Image.Image, level: int, random: Generator) -> Image.Image:
    """Level 2: colour, contrast and down-up-sampling at strength 0 or 1; level 3: up to 2, then noise and blur."""
    if level == 1:
        return image
    strengths = [int(value) for value in random.integers(0, level, size=5)]
    colour, contrast, shrink, noise, blur = strengths
    image = ImageEnhance.Color(image).enhance(SATURATION[colour]) if colour else image
    image = ImageEnhance.Brightness(image).enhance(CONTRAST[contrast]) if contrast else image
    image = _down_up(image, SHRINK[shrink]) if shrink else image
    if level == 2:
        return image
    image = _colour_noise(image, NOISE[noise], random) if noise else image
    return image.filter(ImageFilter.GaussianBlur(BLUR[blur] / 6)) if blur else image


def _down_up(image: Image.Image, factor: int) -> Image.Image:
    """Bilinear without antialias both ways, as cv2.resize does it; the validators call it JPEG."""
    small = (image.width // factor, image.height // factor)
    return _stretch(_stretch(image, small), image.size)


def _stretch(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = (image.width / size[0], 0, 0, 0, image.height / size[1], 0)
    return image.transform(size, Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR)


def _colour_noise(image: Image.Image, variance: float, random: Generator) -> Image.Image:
    """Gaussian noise on luma and both chromas in video range, back to RGB and cut to 0..255 (ITU-R BT.601)."""
    noise = random.standard_normal((image.height, image.width, 3), dtype=np.float32) * np.float32(255 * variance**0.5)
    luma, blue, red = noise[..., 0] * (255 / 219), noise[..., 1] * (255 / 224), noise[..., 2] * (255 / 224)
    shift = np.stack([luma + 1.403 * red, luma - 0.714 * red - 0.344 * blue, luma + 1.773 * blue], axis=-1)
    return Image.fromarray(np.clip(np.asarray(image, dtype=np.float32) + shift, 0, 255).astype(np.uint8))


def _over_the_wire(image: Image.Image) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=WIRE_QUALITY)
    with Image.open(stream) as received:
        return np.array(received.convert("RGB"), dtype=np.uint8)
