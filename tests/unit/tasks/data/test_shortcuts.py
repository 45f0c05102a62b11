"""Sources that features tell apart, with the label tied to them or not, and sets in which there is nothing to find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.data.shortcuts import find_shortcuts, label_from_source

N = 240


def a_set(seed: int, brightness: float, *, tied: float) -> tuple[NDArray[Any], NDArray[np.int64], list[str], list[str]]:
    """Two sources; `brightness` is added to one column of the second, `tied` the share of its label that is one label."""
    random = np.random.default_rng(seed)
    source = np.arange(N) % 2
    label = np.where(random.random(N) < tied, source, 1 - source)
    x = random.normal(size=(N, 16))
    x[:, 0] += 2 * label
    x[:, 3] += brightness * source
    places = [f"{name}-{number // 6}" for number, name in enumerate(source)]
    return x, label, ["day" if one else "night" for one in source], places


def found(seed: int, brightness: float, *, tied: float) -> dict[str, Any]:
    x, label, source, places = a_set(seed, brightness, tied=tied)
    return find_shortcuts(lambda rows: x[rows], label, source, places, seed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("brightness", "tied", "sentence"),
    [
        # the source is as bright as its label is frequent: the shortcut that must not be missed
        (4.0, 0.75, "a shortcut is there"),
        # the camera shows, but every source has both labels alike
        (4.0, 0.5, "gains nothing here"),
        # the label goes with the source, and nothing in the features does
        (0.0, 0.75, "do not tell the source"),
        (0.0, 0.5, "do not tell the source"),
    ],
)
def test_a_planted_shortcut_is_found_and_no_other(brightness: float, tied: float, sentence: str, seed: int) -> None:
    for name in ("clear", "roadwork"):
        one = found(seed, brightness, tied=tied)[name]
        assert sentence in one["sentence"]
        assert one["found"] == (brightness > 0)
        assert one["chance"] == 0.5


@pytest.mark.parametrize(
    ("source", "label", "reason"),
    [
        # one source alone
        (["a"] * 80, [0, 1] * 40, "all pictures of this label are of one source (a)"),
        # each label has a source of its own
        (["a", "b"] * 40, [0, 1] * 40, "all pictures of this label are of one source (a)"),
        # the second source is too small to say
        (["a"] * 70 + ["b"] * 10, [0, 1] * 40, "of 2 sources 1 have 20 pictures"),
        (["a"] * 80, [1] * 80, "no picture has this label"),
    ],
)
def test_where_it_cannot_be_told_the_reason_is_given(source: list[str], label: list[int], reason: str) -> None:
    report = find_shortcuts(lambda rows: np.zeros((len(rows), 2)), np.array(label), source, source, 0)
    assert reason in report["clear"]["skipped"]


def test_features_without_sources_are_passed_over() -> None:
    report = find_shortcuts(lambda rows: np.zeros((len(rows), 2)), np.array([0, 1]), None, ["a", "b"], 0)
    assert "do not say" in report["skipped"]


@pytest.mark.parametrize(
    ("label", "source", "expected"),
    [
        ([0, 0, 1, 1], ["a", "b", "a", "b"], 0.5),  # shared alike
        ([0, 0, 1, 1], ["a", "a", "b", "b"], 1.0),  # each source has one label
        ([0, 0, 1, 1], ["a", "b", "b", "b"], 0.75),
        ([1, 1], ["a", "b"], 0.5),  # there is nothing to tell
    ],
)
def test_label_from_source(label: list[int], source: list[str], expected: float) -> None:
    assert label_from_source(np.array(label), np.array(source)) == pytest.approx(expected)
