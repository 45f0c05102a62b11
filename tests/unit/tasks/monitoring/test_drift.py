"""A retrain is requested neither on noise, nor on too few pictures, nor because of another release."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.config import InboxParams
from cascade.inbox.store import CONTROL, HARD, save
from tasks.common.files import read_json, sha256
from tasks.monitoring.drift import control_predictions, drift, psi
from tests.unit.cascade.inbox.test_inbox import params as inbox_params

SAMPLES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def params(folder: Path, **changes: Any) -> InboxParams:
    drift = {"min_pictures": 50, "bins": 5, "max_psi": 0.25, "breaches": 2, **changes}
    return inbox_params(folder, drift=drift)


def answered(folder: Path, values: Any, release: str = "r1", start: int = 0) -> None:
    """Put answers into the random slice, one a second."""
    for index, value in enumerate(np.asarray(values, dtype=float).tolist()):
        data = f"{release} {start + index}".encode()
        save(folder, CONTROL, data, {"probability": value, "release": release})
        os.utime(folder / CONTROL / f"{sha256(data)}.json", (start + index, start + index))


def shifted(seed: int, mean: float, count: int = 50) -> Any:
    return np.clip(np.random.default_rng(seed).normal(mean, 0.15, count), 0, 1)


@given(SAMPLES, SAMPLES, st.integers(2, 20))
def test_psi_is_finite_and_never_negative(first: list[float], second: list[float], bins: int) -> None:
    value = psi(first, second, bins)
    assert np.isfinite(value)
    assert value >= 0
    assert psi(first, first, bins) == pytest.approx(0)


def test_psi_tells_a_shift_from_noise() -> None:
    random = np.random.default_rng(5)
    reference = random.beta(0.5, 0.5, 400)
    assert psi(reference, random.beta(0.5, 0.5, 400), 10) < 0.1
    assert psi(reference, random.beta(2, 2, 400), 10) > 0.25
    # by hand: two bins about the median 0.5, 2 of 4 pictures in each against 3 and 1, half a picture more in each
    p, q = np.array([2.5, 2.5]) / 5, np.array([3.5, 1.5]) / 5
    assert psi([0.1, 0.2, 0.8, 0.9], [0.1, 0.2, 0.3, 0.9], 2) == pytest.approx(((q - p) * np.log(q / p)).sum())


def test_too_little_is_no_figure(tmp_path: Path) -> None:
    inbox, state = tmp_path / "inbox", tmp_path / "state"
    figure = drift(params(inbox), "r1", "2026-11-22", state)
    assert (figure.value, figure.is_passed, figure.note) == (None, False, "0 of 50 pictures to compare with")
    answered(inbox, shifted(1, 0.3))
    assert "0 of 50 new pictures" in drift(params(inbox), "r1", "2026-11-22", state).note
    answered(inbox, shifted(2, 0.9, 49), start=1000)
    assert "49 of 50 new pictures" in drift(params(inbox), "r1", "2026-11-22", state).note


def test_drift_needs_as_many_dates_in_a_row(tmp_path: Path) -> None:
    inbox, state = tmp_path / "inbox", tmp_path / "state"
    answered(inbox, shifted(1, 0.3))
    drift(params(inbox), "r1", "2026-11-20", state)
    reference = read_json(state / "r1.json")["reference"]

    answered(inbox, shifted(2, 0.8), start=1000)
    first = drift(params(inbox), "r1", "2026-11-21", state)
    assert first.value is not None
    assert (first.value > 0.25, first.is_passed) == (True, False)
    # the same day again counts once
    assert not drift(params(inbox), "r1", "2026-11-21", state).is_passed
    assert drift(params(inbox), "r1", "2026-11-22", state).is_passed

    # back to normal: the newest pictures count, and those that the release first saw stay the measure
    answered(inbox, shifted(3, 0.3), start=2000)
    calm = drift(params(inbox), "r1", "2026-11-23", state)
    assert calm.value is not None
    assert (calm.value < 0.25, calm.is_passed) == (True, False)
    answered(inbox, shifted(4, 0.8), start=3000)
    assert not drift(params(inbox), "r1", "2026-11-24", state).is_passed
    assert read_json(state / "r1.json")["reference"] == reference


def test_only_the_random_slice_of_this_release_counts(tmp_path: Path) -> None:
    answered(tmp_path, [0.1, 0.2], "r1")
    answered(tmp_path, [0.3], "r2")
    save(tmp_path, HARD, b"hard", {"probability": 0.5, "release": "r1"})
    for name, trace in (("no number", {"probability": None}), ("no release", {"probability": 0.4})):
        save(tmp_path, CONTROL, name.encode(), trace)
    (tmp_path / CONTROL / f"{'0' * 64}.json").write_text("{", encoding="utf-8")
    assert [value for _, value in control_predictions(tmp_path, "r1")] == [0.1, 0.2]
    assert control_predictions(tmp_path / "nothing", "r1") == []
