"""From two readings to figures, and from figures to a verdict."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from cascade.vlm.base import VlmAnswer
from tasks.awq.compare import compare, cosine, verdict
from tasks.awq.reading import CheckpointAnswers
from tasks.config.quantize import QuantizeLimits
from tests.support.vlm_settings import vlm_settings

LIMITS = QuantizeLimits(
    min_cosine=0.9, max_perplexity_ratio=1.2, min_agreement=0.85, max_lost=0.1, max_mcc_loss=0.15, max_size_ratio=0.7,
    max_group_error=0.6,
)  # fmt: skip
GOOD: dict[str, Any] = {
    "cosine": {"worst": 0.99}, "perplexity": {"ratio": 1.02}, "agreement": 0.97, "lost": 0.0, "mcc": {"loss": -0.01},
    "bytes": {"ratio": 0.5}, "group_error": {"worst": 0.3},
}  # fmt: skip
NAN = float("nan")


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("agreement",), 0.97, []),
        (("cosine", "worst"), 0.89, ["min_cosine"]),
        (("perplexity", "ratio"), 1.3, ["max_perplexity_ratio"]),
        (("agreement",), 0.5, ["min_agreement"]),
        (("lost",), 0.3, ["max_lost"]),
        (("mcc", "loss"), 0.2, ["max_mcc_loss"]),
        (("bytes", "ratio"), 0.9, ["max_size_ratio"]),
        (("group_error", "worst"), 3.0, ["max_group_error"]),
        # no comparison with NaN is true, and so no limit is kept
        (("cosine", "worst"), NAN, ["min_cosine"]),
        (("perplexity", "ratio"), NAN, ["max_perplexity_ratio"]),
    ],
)
def test_verdict(path: tuple[str, ...], value: float, named: list[str]) -> None:
    found = copy.deepcopy(GOOD)
    place = found
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert [text.split(" ", 1)[0] for text in verdict(found, LIMITS)] == named


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 2.0, 4.0], [1.0, 2.0, 4.0], 1.0),
        # what is added to all logits alike changes no answer
        ([1.0, 2.0, 4.0], [-5.0, -4.0, -2.0], 1.0),
        ([1.0, 2.0, 4.0], [-1.0, -2.0, -4.0], -1.0),
        # a row that says nothing, and rows that are no numbers
        ([1.0, 2.0, 4.0], [3.0, 3.0, 3.0], 0.0),
        ([NAN, NAN, NAN], [1.0, 2.0, 4.0], 0.0),
        # unknown to both: left out; to one: its least
        ([1.0, NAN, 4.0, 2.0], [1.0, NAN, 4.0, 2.0], 1.0),
        ([1.0, NAN, 4.0, 2.0], [1.0, 1.0, 4.0, 2.0], 1.0),
        # a server lists fewer tokens of one than of the other
        ([1.0, 2.0, 4.0], [1.0, 2.0, 4.0, NAN], 1.0),
    ],
)
def test_cosine(first: list[float], second: list[float], expected: float) -> None:
    found = cosine(np.array(first, dtype=np.float32), np.array(second, dtype=np.float32))
    assert found == pytest.approx(expected, abs=1e-6)


def reading(logits: list[float | None], loss: float = 2.0) -> CheckpointAnswers:
    answers = [VlmAnswer("malformed") if logit is None else VlmAnswer("answered", logit, 0.9) for logit in logits]
    return CheckpointAnswers(np.array([[0.0, 1.0, 2.0]] * 2, dtype=np.float32), answers, loss, 0)


def test_compare() -> None:
    labels = np.array([1, 1, 0, 0])
    # one yes becomes a no, and one answer is lost
    found = compare(
        reading([3.0, 2.0, -1.0, -2.0]), reading([2.5, -0.5, -1.0, None], loss=2.1), vlm_settings(), labels, prior=None
    )
    # of the three that both answer
    assert found["agreement"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["lost"] == 0.25
    assert found["mcc"] == {"source": 1.0, "quantized": pytest.approx(1 / math.sqrt(3)), "loss": pytest.approx(0.42265)}
    assert found["perplexity"]["ratio"] == pytest.approx(math.exp(0.1), abs=1e-5)
    assert found["logit_shift"] == pytest.approx((0.5 + 2.5 + 0.0) / 3)
    assert found["abstained"] == {"source": 0, "quantized": 1}


def test_the_cut_is_where_the_scaling_puts_it() -> None:
    settings = vlm_settings(scaling={"a": 1.0, "b": -1.5})
    found = compare(reading([2.0, 1.0]), reading([2.0, 1.6]), settings, np.array([1, 0]), prior=None)
    assert found["agreement"] == 0.5


def test_the_mcc_is_for_the_prior() -> None:
    # the quantized one takes half of the clear pictures for roadwork; eight of ten pictures are roadwork
    labels = np.array([1, 1, 0, 0] + [1] * 6)
    source, quantized = reading([2.0, 2.0, -2.0, -2.0] + [2.0] * 6), reading([2.0, 2.0, 2.0, -2.0] + [2.0] * 6)
    even = compare(
        reading([2.0, 2.0, -2.0, -2.0]), reading([2.0, 2.0, 2.0, -2.0]), vlm_settings(), labels[:4], prior=None
    )
    losses = {prior: compare(source, quantized, vlm_settings(), labels, prior=prior)["mcc"] for prior in (0.5, None)}
    assert losses[0.5] == even["mcc"]
    assert losses[None]["loss"] < losses[0.5]["loss"]
