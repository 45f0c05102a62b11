"""Test-time augmentation (Krizhevsky et al. 2012): two more views of squares whose probability lies in a band.

Small things that fall on the edge of two patches, or stand on the side that is rarer in training, are seen better
mirrored or shifted. Only squares in the band pay for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HALF_PATCH = 7  # px, of a DINOv2
TTA_VIEWS = 2  # mirrored, moved


class TtaResult(NamedTuple):
    """Logits of some squares, arrays of shape (n,).

    Attributes:
        logit: the mean over all views.
        first: of the view as it came.
        augmented: bool, where the mean is over more than one view.
    """

    logit: NDArray[np.float32]
    first: NDArray[np.float32]
    augmented: NDArray[np.bool_]


def tta_views(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give two more views of squares: mirrored, and shifted right and down by half a patch, padded by the edge.

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
    band: tuple[float, float] | None,
    among: NDArray[np.bool_] | None = None,
) -> TtaResult:
    """Run squares, and two more views of those whose probability lies within `band`.

    Args:
        run: an engine's `run`.
        pixels: uint8 (n, size, size, 3).
        band: lowest and highest probability, both exclusive; None: no augmentation.
        among: bool (n,), the squares that may be augmented; None: all.
    """
    import numpy as np

    first = run(pixels)
    within = np.zeros(len(first), dtype=bool) if band is None else is_within(first, band)
    if among is not None:
        within &= among
    logit = first.copy()
    if within.any():
        more = [run(np.ascontiguousarray(view)) for view in tta_views(pixels[within])]
        logit[within] = np.mean([first[within], *more], axis=0)
    return TtaResult(logit, first, within)


def is_within(logit: NDArray[np.float32], band: tuple[float, float]) -> NDArray[np.bool_]:
    """Tell which probabilities, given as logits (n,), lie between the bounds of a band."""
    low, high = map(_log_odds, band)
    return (logit > low) & (logit < high)


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))
