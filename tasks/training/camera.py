"""What cameras and the ways of a picture do to it: white balance, dark corners, shrinking and compression.

Most sources of photographs have one label and one camera, so a classifier can learn the camera in place of the works.
Each picture that is trained on therefore comes as another camera might have taken it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance

from tasks.config.learn import CameraParams

if TYPE_CHECKING:
    from numpy.random import Generator


def as_another_camera(image: Image.Image, random: Generator, params: CameraParams) -> Image.Image:
    """Change a picture as another camera or sender would.

    Args:
        image: RGB.
        random: what decides which changes apply, and how strongly.
        params: section `adapt.camera` or `embed.other_camera`.

    Returns:
        RGB of the same size.
    """
    if random.random() < params.share:
        image = _colours(image, random, params)
    if random.random() < params.share:
        image = _shrunk(image, float(np.exp(random.uniform(np.log(params.least_scale), 0))))
    if random.random() < params.share:
        image = _compressed(image, int(random.integers(params.least_quality, 96)))
    return image


def _colours(image: Image.Image, random: Generator, params: CameraParams) -> Image.Image:
    """Gains of red and blue, and corners that are darker than the middle."""
    red, blue = np.exp(random.uniform(-params.white_balance, params.white_balance, 2))
    pixels = np.asarray(image, dtype=np.float32) * np.array([red, 1.0, blue], dtype=np.float32)
    pixels *= _vignette(image.height, image.width, float(random.uniform(0, params.vignette)))[..., None]
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def _vignette(height: int, width: int, strength: float) -> np.ndarray:
    """Share of the light that reaches each pixel, (height, width): 1 in the middle, 1 - strength in the corners."""
    y, x = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    return 1 - strength * (y[:, None] ** 2 + x[None] ** 2) / 2


def _shrunk(image: Image.Image, scale: float) -> Image.Image:
    """Shrink and enlarge again, which takes the finest detail."""
    small = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(small, Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.BICUBIC)


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    """Encode as JPEG and decode."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def jitter(image: Image.Image, random: Generator, strength: float) -> Image.Image:
    """Change brightness, contrast and colour: renders of one lamp are more alike than photographs.

    Args:
        image: RGB.
        random: what the factors are drawn with.
        strength: each factor lies between exp(-strength) and exp(strength).
    """
    steps: list[Callable[[Image.Image], ImageEnhance._Enhance]]
    steps = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
    for step in steps:
        image = step(image).enhance(float(np.exp(random.uniform(-strength, strength))))
    return image
