"""Puts a cut-out of rendered works into a photograph so that ground, light, noise and compression agree.

Ground: a camera at the height h above level ground sees a point of it at y = horizon + f * h / depth. So a cut-out that
was seen from the same height fits at any scale once the horizons coincide; the scale is a matter of the focal length.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

if TYPE_CHECKING:
    from numpy.random import Generator

Pixels = NDArray[np.float32]
SIDE = 3  # px of a box; less is not a visible object
SOLID = 128  # alpha from which a pixel shows an object and no shadow alone
MOST_HAZE = 40  # grey level that black is raised to, at most
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in JPEG


@dataclass(frozen=True)
class Cutout:
    """Objects with their shadows, the horizon in the middle row.

    Attributes:
        image: RGBA.
        label: 1 for works, 0 for look-alikes.
        objects: boxes of works, {"category": str, "bbox": [x, y, w, h] in px}.
    """

    image: Image.Image
    label: int
    objects: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Placement:
    """Where a cut-out lies in a photograph: its scale, and the photograph's pixel of its upper left corner."""

    scale: float
    left: int
    top: int
    mirrored: bool = False


@dataclass(frozen=True)
class Composite:
    """The photograph with the cut-out in it.

    Attributes:
        data: JPEG.
        objects: visible boxes of works in px of the photograph.
        share: of the photograph that the works' solid pixels cover.
    """

    data: bytes
    objects: tuple[dict[str, Any], ...] = ()
    share: float = 0.0


def draw_placement(cutout: Cutout, size: tuple[int, int], horizon: float, random: Generator) -> Placement:
    """Draw a place on the ground of a photograph.

    Args:
        cutout: what is to be placed.
        size: of the photograph, width and height in px.
        horizon: row of the photograph's horizon as a share of its height.
        random: chooses focal length, direction and side.
    """
    scale = size[0] / cutout.image.width * float(np.exp(random.uniform(np.log(0.8), np.log(1.6))))
    left = size[0] / 2 - scale * cutout.image.width / 2 + size[0] * random.normal(0, 0.06)
    top = horizon * size[1] - scale * cutout.image.height / 2
    return Placement(scale, round(left), round(top), bool(random.random() < 0.5))


def paste(data: bytes, cutout: Cutout | None, placement: Placement | None, random: Generator) -> Composite:
    """Paste a cut-out, or nothing, and encode as the photograph was.

    Args:
        data: the photograph's file.
        cutout: None where the photograph is encoded again and nothing else, so that compression tells no label.
        placement: of the cut-out.
        random: of light and noise.
    """
    with Image.open(io.BytesIO(data)) as file:
        tables, photograph = getattr(file, "quantization", None), ImageOps.exif_transpose(file).convert("RGB")
    if cutout is None or placement is None:
        return Composite(_encode(photograph, tables))
    layer = _layer(cutout, placement, photograph.size)
    objects = place_objects(cutout, placement, photograph.size)
    blur = ImageFilter.GaussianBlur(random.uniform(0.2, 0.8) * max(photograph.size) / 640)
    layer = layer.convert("RGBa").filter(blur).convert("RGBA")  # premultiplied, or empty pixels would darken the edges
    alpha: Pixels = np.asarray(layer, dtype=np.float32)[..., 3:] / np.float32(255)
    pixels = np.asarray(photograph, dtype=np.float32)
    if alpha.any():
        added = match_light(np.asarray(layer, dtype=np.float32)[..., :3], alpha[..., 0], pixels, random)
        added += random.normal(0, noise_of(pixels), added.shape).astype(np.float32)
        pixels = pixels * (1 - alpha) + added * alpha
    mixed = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
    return Composite(_encode(mixed, tables), objects, _covered(alpha[..., 0], objects))


def place_objects(cutout: Cutout, placement: Placement, size: tuple[int, int]) -> tuple[dict[str, Any], ...]:
    """Boxes of a cut-out in px of the photograph, clipped to it; those of less than SIDE px are left out."""
    found = []
    for item in cutout.objects:
        x, y, width, height = item["bbox"]
        x = cutout.image.width - x - width if placement.mirrored else x
        corners = np.array([[x, y], [x + width, y + height]]) * placement.scale + [placement.left, placement.top]
        (x1, y1), (x2, y2) = np.clip(corners, 0, size)
        if min(x2 - x1, y2 - y1) >= SIDE:
            found.append({"category": item["category"], "bbox": [float(v) for v in (x1, y1, x2 - x1, y2 - y1)]})
    return tuple(found)


def match_light(added: Pixels, alpha: Pixels, photograph: Pixels, random: Generator) -> Pixels:
    """Give rendered colours the brightness, the tint and the haze of a photograph.

    Args:
        added: rendered colours, (height, width, 3), 0 to 255.
        alpha: (height, width), 0 to 1.
        photograph: (height, width, 3), 0 to 255.
        random: varies brightness a little.

    Bright parts are made as bright as the photograph's own, and black as black as its own; half of the photograph's
    tint is taken over, since a street is seldom grey on average.
    """
    street = photograph[photograph.shape[0] // 2 :]
    low, high = min(0.8 * np.percentile(photograph @ LUMA, 1), MOST_HAZE), np.percentile(street @ LUMA, 97)
    objects = (added @ LUMA)[alpha > 0.5]
    bright = np.percentile(objects, 95) if objects.size else 255.0
    gain = np.clip(high / max(bright, 1.0), 0.45, 1.25) * np.exp(random.normal(0, 0.12))
    means = street.reshape(-1, 3).mean(axis=0) + 1
    tint = np.sqrt(means / (means @ LUMA))
    return np.asarray(low + added * gain * tint * (1 - low / 255), dtype=np.float32)


def noise_of(photograph: Pixels) -> float:
    """Standard deviation of a photograph's noise (Immerkaer 1996, Fast noise variance estimation), at most 6.

    The median in place of the mean keeps edges and leaves out of it.
    """
    grey = photograph @ LUMA
    rows = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    mask = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(min(np.median(np.abs(mask)) / 0.6745 / 6, 6.0)) if mask.size else 0.0


def _layer(cutout: Cutout, placement: Placement, size: tuple[int, int]) -> Image.Image:
    """The cut-out on an empty picture of the photograph's size, RGBA."""
    image = ImageOps.mirror(cutout.image) if placement.mirrored else cutout.image
    scaled = (max(1, round(image.width * placement.scale)), max(1, round(image.height * placement.scale)))
    resized = image.resize(scaled, Image.Resampling.BICUBIC, reducing_gap=3)
    layer = Image.new("RGBA", size)
    layer.paste(resized, (placement.left, placement.top))
    return layer


def _covered(alpha: Pixels, objects: tuple[dict[str, Any], ...]) -> float:
    boxed = np.zeros(alpha.shape, dtype=bool)
    for item in objects:
        x, y, width, height = (round(value) for value in item["bbox"])
        boxed[y : y + height, x : x + width] = True
    return float((boxed & (alpha * 255 >= SOLID)).mean())


def _encode(image: Image.Image, tables: Any) -> bytes:
    """As JPEG, with the photograph's own tables where it had some."""
    target = io.BytesIO()
    if tables:
        image.save(target, "JPEG", qtables=tables)
    else:
        image.save(target, "JPEG", quality=90)
    return target.getvalue()
