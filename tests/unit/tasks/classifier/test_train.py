"""Training counts test-time augmentation as the runtime does it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cascade.preprocess.tta import Tta, TtaView, run_with_tta, tta_views
from tasks.classifier.calibrate import mean_with_tta
from tasks.classifier.calibration import Calibration
from tasks.config import load_params
from tests.support.paths import ROOT

PARAMS = load_params(ROOT / "params.yaml").train
KINDS: list[tuple[TtaView, ...]] = [("mirrored",), ("shifted",), ("mirrored", "shifted")]


@given(st.integers(0, 1000), st.floats(0.2, 3), st.floats(-2, 2), st.sampled_from(KINDS))
def test_what_is_scaled_is_what_is_served(seed: int, slope: float, offset: float, kinds: tuple[TtaView, ...]) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 14, 14, 3), dtype=np.uint8)
    calibration = Calibration(slope, offset)

    def raw(batch: NDArray[np.uint8]) -> NDArray[np.float64]:
        # neither mirrored nor moved is it the same
        return (batch[:, 0, 0, 0].astype(np.float64) - batch[:, -1, -1, 1]) / 40

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (slope * raw(batch) + offset).astype(np.float64)  # type: ignore[return-value]

    augmented = np.stack([raw(view) for view in tta_views(pixels, kinds)], axis=1)
    band = PARAMS.tta_band
    assert band is not None
    trained = mean_with_tta(raw(pixels), augmented, calibration, band)
    served = run_with_tta(run, pixels, Tta(kinds, *band))
    assert slope * trained + offset == pytest.approx(served.logit)
