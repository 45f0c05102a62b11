"""From a decoded image to the classifier's input: the same function in training, validation and service."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


def square(image: Image.Image, size: int) -> Image.Image:
    """Crop the largest centred square and resize it to `size` pixels a side.

    This is level 0 of the subnet's validators (`CenterCrop` to a square, then `Resize`), with Pillow's bicubic filter,
    which widens its support when it shrinks (antialias).
    """
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    cropped = image.crop((left, top, left + side, top + side))
    return cropped if side == size else cropped.resize((size, size), Image.Resampling.BICUBIC)


def to_input(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Give uint8 RGB of shape (size, size, 3); ImageNet mean and deviation are part of the ONNX graph."""
    import numpy as np

    return np.array(square(image.convert("RGB"), size), dtype=np.uint8)
