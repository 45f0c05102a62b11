"""More than one look at a picture: several squares of a wide one, and two more of a square that stage 1 is unsure of.

Street cameras see 16:9, and works often stand at the side. Small things that fall on the edge of two patches, or stand
on the side that is rarer in training, are seen better mirrored or moved (test-time augmentation, Krizhevsky et al.
2012); asked only where it can matter, it costs little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

HALF_PATCH = 7  # px, of a DINOv2
TTA_VIEWS = 2  # mirrored, moved


class TtaResult(NamedTuple):
    """What an engine said of some squares, arrays of shape (n,).

    Attributes:
        logit: the mean over all looks.
        first: of the first look.
        again: where there was more than one.
    """

    logit: NDArray[np.float32]
    first: NDArray[np.float32]
    again: NDArray[np.bool_]


def square_crops(image: Image.Image, count: int) -> Iterator[Image.Image]:
    """Cut `count` squares as large as the shorter side, evenly spread along the longer one, from edge to edge."""
    side, spare = min(image.size), max(image.size) - min(image.size)
    for index in range(count):
        start = round(spare * index / (count - 1)) if count > 1 else spare // 2
        left, top = (start, 0) if image.width > image.height else (0, start)
        yield image.crop((left, top, left + side, top + side))


def tta_views(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Look at squares twice more: mirrored, and moved right and down by half a patch, what is left filled by the edge.

    Args:
        pixels: uint8 (n, size, size, 3).

    Returns:
        (2, n, size, size, 3).
    """
    import numpy as np

    size = pixels.shape[1]
    moved = np.pad(pixels, ((0, 0), (HALF_PATCH, 0), (HALF_PATCH, 0), (0, 0)), mode="edge")[:, :size, :size]
    return np.stack([pixels[:, :, ::-1], moved])


def run_with_tta(
    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    pixels: NDArray[np.uint8],
    unsure: tuple[float, float] | None,
) -> TtaResult:
    """Ask about squares, and again about those whose probability lies within `unsure`.

    Args:
        run: an engine's `run`.
        pixels: uint8 (n, size, size, 3).
        unsure: from which probability to which, without the ends; None: one look is enough.
    """
    import numpy as np

    first = run(pixels)
    within = np.zeros(len(first), dtype=bool)
    if unsure is not None:
        low, high = map(_log_odds, unsure)
        within = (first > low) & (first < high)
    logit = first.copy()
    if within.any():
        more = [run(np.ascontiguousarray(look)) for look in tta_views(pixels[within])]
        logit[within] = np.mean([first[within], *more], axis=0)
    return TtaResult(logit, first, within)


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))
