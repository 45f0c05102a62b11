"""A training picture as another camera would give it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tasks.config.learn import CameraParams
from tasks.data.views import generator
from tasks.training.camera import as_another_camera

OFF = {"share": 1.0, "white_balance": 0.0, "vignette": 0.0, "least_scale": 1.0, "least_quality": 95}


def street(side: int = 96) -> Image.Image:
    """Fine stripes on grey: red, green and blue are alike."""
    y, x = np.mgrid[:side, :side]
    return Image.fromarray(np.repeat((120 + 40 * ((x + y) % 2))[..., None], 3, axis=2).astype(np.uint8))


def seen(number: int = 0, **changes: float) -> np.ndarray:
    params = CameraParams.model_validate({**OFF, **changes})
    return np.asarray(as_another_camera(street(), generator(f"{number}"), params), dtype=np.float64)


def test_share_zero_changes_nothing() -> None:
    assert (
        seen(share=0.0, white_balance=0.5, vignette=0.5, least_scale=0.2, least_quality=5) == np.asarray(street())
    ).all()


@pytest.mark.parametrize(
    ("changes", "measure"),
    [
        # red and blue move apart
        ({"white_balance": 0.5}, lambda p: abs(p[..., 0].mean() - p[..., 2].mean())),
        # the middle is brighter than the corner
        ({"vignette": 0.8}, lambda p: p[40:56, 40:56].mean() - p[:8, :8].mean()),
        # fine stripes go
        ({"least_scale": 0.2}, lambda p: 40 - np.ptp(p[48, 8:88, 1])),
        # blocks of JPEG
        ({"least_quality": 1}, lambda p: np.abs(p - np.asarray(street())).mean()),
    ],
)
def test_each_change_shows(changes: dict[str, float], measure: object) -> None:
    found = [measure(seen(number, **changes)) for number in range(12)]  # type: ignore[operator]
    assert max(found) > max(measure(seen(number)) for number in range(12)) + 2  # type: ignore[operator]
    # and not always as strongly
    assert np.ptp(found) > 1


def test_a_name_always_gives_the_same_picture() -> None:
    assert (seen(3, vignette=0.5, white_balance=0.2) == seen(3, vignette=0.5, white_balance=0.2)).all()
