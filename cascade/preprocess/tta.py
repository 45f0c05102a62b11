"""Test-time augmentation (Krizhevsky et al. 2012): further views of squares whose probability lies in a band.

Small things that fall on the edge of two patches, or stand on the side that is rarer in training, are seen better
shifted or mirrored. Only squares in the band pay for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HALF_PATCH = 7  # px, of a DINOv2
TtaView = Literal["mirrored", "shifted"]


class Tta(NamedTuple):
    """Which squares are augmented, and how.

    Attributes:
        views: that each gets beside itself.
        low: probability above which a square gets them ...
        high: ... and below which.
    """

    views: tuple[TtaView, ...]
    low: float
    high: float


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


def tta_views(pixels: NDArray[np.uint8], views: Sequence[TtaView]) -> NDArray[np.uint8]:
    """Give further views of squares.

    Args:
        pixels: uint8 (n, size, size, 3).
        views: `mirrored`: swapped left and right; `shifted`: right and down by half a patch, padded by the edge.

    Returns:
        (len(views), n, size, size, 3).
    """
    import numpy as np

    makers = {"mirrored": _mirrored, "shifted": _shifted}
    return np.stack([makers[view](pixels) for view in views])


def run_with_tta(
    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    pixels: NDArray[np.uint8],
    tta: Tta | None,
    among: NDArray[np.bool_] | None = None,
) -> TtaResult:
    """Run squares, and further views of those whose probability lies within a band.

    Args:
        run: an engine's `run`.
        pixels: uint8 (n, size, size, 3).
        tta: views and band, whose bounds are exclusive; None: no augmentation.
        among: bool (n,), the squares that may be augmented; None: all.
    """
    import numpy as np

    first = run(pixels)
    within = np.zeros(len(first), dtype=bool) if tta is None else is_within(first, (tta.low, tta.high))
    if among is not None:
        within &= among
    logit = first.copy()
    if tta is not None and within.any():
        more = [run(np.ascontiguousarray(view)) for view in tta_views(pixels[within], tta.views)]
        logit[within] = np.mean([first[within], *more], axis=0)
    return TtaResult(logit, first, within)


def is_within(logit: NDArray[np.float32], band: tuple[float, float]) -> NDArray[np.bool_]:
    """Tell which probabilities, given as logits (n,), lie between the bounds of a band."""
    low, high = map(_log_odds, band)
    return (logit > low) & (logit < high)


def _mirrored(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[:, :, ::-1]


def _shifted(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import numpy as np

    size = pixels.shape[1]
    return np.pad(pixels, ((0, 0), (HALF_PATCH, 0), (HALF_PATCH, 0), (0, 0)), mode="edge")[:, :size, :size]


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))
