"""Figures of a run whose answers are made up: intervals, parts, repeats, pairs, hours."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cascade.evaluate.scores import classification_scores
from tasks.data.views import View
from tasks.reward.places import draw_places
from tasks.subnet.challenge import Challenge, draw_challenges
from tasks.subnet.pictures import REAL, SYNTHETIC, Picture
from tasks.subnet.record import Answers, Asked, asked_of
from tasks.subnet.repeats import Repeats, chance_above, repeat_run
from tasks.subnet.report import Subnet, make_report
from tasks.subnet.score import NO_ANSWER, rewards_of, scores_of

FEW = Subnet(repeats=60, seed=3)


def asked(steps: int, *, places: int = 40) -> Asked:
    pictures = [
        Picture(f"{number:03d}", number % 2, SYNTHETIC if number % 3 else REAL, f"place {number % places}")
        for number in range(120)
    ]
    return asked_of(draw_challenges(pictures, steps=steps, seed=5, synthetic=0.5, draws=1))


def answers(run: Asked, value: np.ndarray, name: str = "one", **changes: Any) -> Answers:
    rewards = rewards_of(run.label[None], value[None])
    given = {"timeouts": 0, "errors": {}, "seconds": np.full(len(value), 0.05), **changes}
    return Answers(name, value, reward=rewards[0], score=scores_of(rewards)[0], **given)


def erring(run: Asked, share: float, seed: int = 1) -> np.ndarray:
    wrong = np.random.default_rng(seed).random(len(run.label)) < share
    return np.where(wrong, 1 - run.label, run.label).astype(float)


def test_weights_give_each_view_its_chance() -> None:
    one, other = (Picture(key, label, REAL, key) for key, label in (("a", 0), ("b", 1)))
    third = Picture("c", 1, REAL, "c")
    # a is asked three times, b twice, c once: labels count alike, and so do b and c
    run = asked_of([Challenge(picture, View(0), 0.5) for picture in (one, one, one, other, other, third)])
    assert run.weight.tolist() == pytest.approx([1 / 6] * 3 + [1 / 8] * 2 + [1 / 4])
    assert run.views == 3


def test_a_perfect_miner_and_a_constant_one() -> None:
    run = asked(900)
    best, same = answers(run, run.label.astype(float), "best"), answers(run, np.ones(900), "same")
    report = make_report(run, [best, same], FEW)
    figures = report.figures["miners"]
    assert figures["best"]["expected_reward"]["value"] == pytest.approx(1.0, abs=1e-6)
    assert (figures["best"]["mcc"]["value"], figures["best"]["accuracy"]["low"]) == (1.0, 1.0)
    # always roadwork: MCC 0, and the cube of accuracy over ten
    assert figures["same"]["mcc"]["value"] == 0
    assert figures["same"]["expected_reward"]["value"] == pytest.approx(162.5 / 8000, abs=1e-5)
    (pair,) = report.figures["pairs"]
    assert (pair["miners"], pair["ends_above"]) == (["best", "same"], 1.0)
    assert pair["expected_reward"]["low"] > 0.9
    # 0.95^n of the way to 1 is missing after n challenges: 59 of them leave 0.0485
    stable = figures["best"]["stable"]
    assert 59 <= stable["challenges"] <= 70
    # 25 steps of 60 to 80 s a challenge
    assert stable["hours"] == pytest.approx([stable["challenges"] * 25 / 60, stable["challenges"] * 25 / 45], abs=0.06)
    json.dumps(report.document, allow_nan=False)


def test_figures_are_those_of_evaluate_and_agree_with_what_was_paid() -> None:
    run = asked(2000)
    value = erring(run, 0.08)
    report = make_report(run, [answers(run, value)], FEW)
    found = report.figures["miners"]["one"]
    # every challenge alike, at the prior: the weights here are those of views and sources, so that it is near
    scores = classification_scores(run.label, value, prior=0.5)
    for name in ("mcc", "accuracy", "recall"):
        assert found[name]["value"] == pytest.approx(scores[name], abs=0.02)
        assert found[name]["low"] < scores[name] < found[name]["high"]
    # the exact mean and the mean that was paid once windows are full
    paid = float(rewards_of(run.label[None], value[None])[0, 100:].mean())
    assert found["expected_reward"]["value"] == pytest.approx(paid, abs=0.06)
    assert found["reward"]["low"] < found["expected_reward"]["value"] < found["reward"]["high"]
    assert sum(part["challenges"] for part in found["level"].values()) == 2000
    assert {source: part["challenges"] for source, part in found["source"].items()} == {
        source: int((run.source == source).sum()) for source in (REAL, SYNTHETIC)
    }


@pytest.mark.parametrize(
    ("spoiled", "answered", "expected"),
    [
        # a third without an answer: they earn nothing
        (NO_ANSWER, 2 / 3, 2 / 3),
        # outside the range, and counted as 0 or 1 all the same: they earn nothing
        (1.3, 1.0, 2 / 3),
        # NaN spoils every window, and no share of it can be told
        (float("nan"), 1.0, None),
    ],
)
def test_answers_that_earn_nothing(spoiled: float, answered: float, expected: float | None) -> None:
    run = asked(600)
    value = run.label.astype(float)
    # two of three roadwork challenges, where 1.3 rounds to the right answer: a third of all
    works = np.flatnonzero(run.label == 1)
    value[works[np.arange(len(works)) % 3 != 2]] = spoiled
    found = make_report(run, [answers(run, value)], FEW).figures["miners"]["one"]
    assert found["answered"] == pytest.approx(answered, abs=0.03)
    if expected is None:
        assert found["expected_reward"]["value"] is None
        assert found["score"]["value"] < 0.2
    else:
        assert found["expected_reward"]["value"] == pytest.approx(expected, abs=0.06)


def test_the_same_seed_gives_the_same_report() -> None:
    run = asked(300)
    two = [answers(run, erring(run, share), name) for share, name in ((0.05, "a"), (0.1, "b"))]
    first, again = (make_report(run, two, FEW).figures for _ in range(2))
    assert first == again
    assert make_report(run, two, Subnet(repeats=60, seed=4)).figures["pairs"] != first["pairs"]


def test_equal_miners_end_above_each_other_as_often_as_not() -> None:
    run = asked(400)
    value = erring(run, 0.1)
    drawn = draw_places(len(np.unique(run.place)), resamples=400, seed=1)
    one, other = repeat_run(run, [answers(run, value), answers(run, value)], drawn, seed=1)
    # they get challenges of their own
    assert not np.array_equal(one.score, other.score)
    assert chance_above(one, other) == pytest.approx(0.5, abs=0.08)
    assert chance_above(one, one) == 0.5


def test_a_run_of_one_challenge_has_figures() -> None:
    run = asked(1)
    found = make_report(run, [answers(run, run.label.astype(float))], FEW)
    assert (
        found.figures["miners"]["one"]["stable"] is None or found.figures["miners"]["one"]["stable"]["challenges"] >= 1
    )
    json.dumps(found.document, allow_nan=False)


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        # there from the first challenge on
        ([1.0] * 8, 1),
        # a twentieth below is near enough, more is not
        ([0.5, 0.94, 0.96, 1.0, 1.0, 1.0, 1.0, 1.0], 3),
        # back out again: stable from the last time on
        ([1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0], 4),
        # still rising at the end
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], None),
        # nothing is earned
        ([0.0] * 8, None),
    ],
)
def test_when_a_score_is_stable(mean: list[float], expected: int | None) -> None:
    assert Repeats(np.zeros(2), np.array([mean, mean])).stable_after() == expected


def test_hours_by_the_subnets_pace() -> None:
    assert Subnet(miners=250, sample=10, step_seconds=(60, 80)).hours(60) == pytest.approx((25.0, 100 / 3))
    # fewer miners than are asked a step: each of them every time
    assert Subnet(miners=4, sample=10, step_seconds=(60, 60)).hours(60) == pytest.approx((1.0, 1.0))


def test_kept_answers_are_no_latencies() -> None:
    run = asked(40)
    seconds = np.full(40, np.nan)
    seconds[:10] = 0.2
    found = make_report(run, [answers(run, run.label.astype(float), seconds=seconds)], FEW).timings["one"]
    assert found == {"requests": 10, "kept": 30, "p50_ms": 200.0, "p95_ms": 200.0, "p99_ms": 200.0, "max_ms": 200.0}
