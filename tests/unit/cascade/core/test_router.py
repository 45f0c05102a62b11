"""The router as a table, and what holds for any trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.core.router import NoEstimateError, decide, estimate
from cascade.release.manifest import Exits, FusionRule
from cascade.stages.base import StageResult, skipped_result, verdict_of

EXITS = Exits(high=0.88, low=0.12)


def seen(stage: str, probability: float) -> StageResult:
    return StageResult(
        stage=stage, probability=probability, exits=EXITS, verdict=verdict_of(probability, EXITS), milliseconds=1.0
    )


def test_no_stage_no_decision() -> None:
    with pytest.raises(ValueError, match="no stage"):
        decide([])


@pytest.mark.parametrize(
    ("probabilities", "label", "decided_by", "probability"),
    [
        ([0.97], "roadwork", "stage 0", 0.97),
        ([0.03], "clear", "stage 0", 0.03),
        # no stage sure: the last estimate, 0.5 rounding to clear as the validators round
        ([0.51], "roadwork", "stage 0", 0.51),
        ([0.5], "clear", "stage 0", 0.5),
        ([0.7, 0.4], "clear", "stage 1", 0.4),
        # the first sure stage decides, whatever comes after
        ([0.7, 0.05, 0.99], "clear", "stage 1", 0.05),
        ([0.99, 0.01], "roadwork", "stage 0", 0.99),
    ],
)
def test_decision_table(probabilities: list[float], label: str, decided_by: str, probability: float) -> None:
    decision = decide([seen(f"stage {index}", p) for index, p in enumerate(probabilities)])
    assert (decision.label, decision.decided_by, decision.probability) == (label, decided_by, probability)
    assert decided_by in decision.reason


def sure(stage: str, verdict: str, probability: float | None = None) -> StageResult:
    """A stage that decides by what it found, without exits."""
    return StageResult(stage=stage, probability=probability, verdict=verdict, milliseconds=1.0)  # type: ignore[arg-type]


def silent(stage: str) -> StageResult:
    """A stage that ran and gives no estimate."""
    return StageResult(stage=stage, verdict="undecided", milliseconds=1.0)


@pytest.mark.parametrize(
    ("trace", "label", "decided_by", "probability"),
    [
        # an abstaining last stage leaves the estimate of the one before it
        ([seen("classifier", 0.7), silent("ocr")], "roadwork", "classifier", 0.7),
        ([seen("classifier", 0.7), seen("detectors", 0.3), silent("ocr")], "clear", "detectors", 0.3),
        # skipped stages, whatever the reason, change nothing
        (
            [seen("classifier", 0.3), skipped_result("detectors", "off"), seen("vlm", 0.6)],
            "roadwork",
            "vlm",
            0.6,
        ),
        ([seen("classifier", 0.3), skipped_result("vlm", "timeout", 4000)], "clear", "classifier", 0.3),
        ([skipped_result("classifier", "memory"), seen("vlm", 0.8)], "roadwork", "vlm", 0.8),
        # a sure stage after skipped ones
        (
            [seen("classifier", 0.5), skipped_result("vlm", "missing"), sure("ocr", "roadwork", 0.95)],
            "roadwork",
            "ocr",
            0.95,
        ),
        # a verdict without a probability: the estimate before, where it fits, else certainty
        ([seen("classifier", 0.3), sure("detectors", "clear")], "clear", "detectors", 0.3),
        ([seen("classifier", 0.3), sure("ocr", "roadwork")], "roadwork", "ocr", 1.0),
        ([sure("ocr", "roadwork")], "roadwork", "ocr", 1.0),
        # a number on the wrong side of its own verdict does not turn the answer
        ([seen("classifier", 0.4), sure("detectors", "roadwork", 0.2)], "roadwork", "detectors", 1.0),
        ([seen("classifier", 0.6), sure("detectors", "clear", 0.55)], "clear", "detectors", 0.0),
    ],
)  # fmt: skip
def test_abstaining_skipped_and_sure_stages(
    trace: list[StageResult], label: str, decided_by: str, probability: float
) -> None:
    decision = decide(trace)
    assert (decision.label, decision.decided_by, decision.probability) == (label, decided_by, probability)


def found(stage: str, verdict: str, summary: str) -> StageResult:
    """A stage that says in a sentence what its verdict rests on."""
    return sure(stage, verdict, 0.9).model_copy(update={"detail": {"summary": summary}})


@pytest.mark.parametrize(
    ("trace", "weights", "reason"),
    [
        # the exits of a probability, from both sides
        ([seen("classifier", 0.93)], {}, "classifier: 0.93, at or above its exit of 0.88"),
        ([seen("classifier", 0.1), seen("vlm", 0.9)], {}, "classifier: 0.10, at or below its exit of 0.12"),
        # what was found
        ([seen("classifier", 0.5), found("ocr", "roadwork", "ocr reads 2 signs")], {}, "ocr reads 2 signs"),
        # a verdict without exits or words
        ([sure("ocr", "roadwork", 0.95)], {}, "ocr: 0.95"),
        # no verdict; what was skipped stands in the trace alone
        (
            [seen("classifier", 0.7), skipped_result("vlm", "timeout"), silent("ocr")],
            {},
            "no stage was sure; the best estimate is 0.70 from the classifier",
        ),
        (
            [seen("classifier", 0.6), seen("vlm", 0.4)],
            {"classifier": 1.0, "vlm": 1.0},
            "no stage was sure; the best estimate is 0.50 from the classifier and the vlm",
        ),
    ],
)
def test_the_reason_is_one_sentence(trace: list[StageResult], weights: dict[str, float], reason: str) -> None:
    assert decide(trace, FusionRule(weights=weights)).reason == reason


def test_no_stage_gives_an_estimate() -> None:
    with pytest.raises(NoEstimateError, match=r"classifier: memory; ocr: no estimate"):
        decide([skipped_result("classifier", "memory"), silent("ocr")])


def test_an_unknown_cause_is_refused() -> None:
    with pytest.raises(ValueError, match="skipped"):
        skipped_result("vlm", "it had a bad day")  # type: ignore[arg-type]


def test_a_skipped_stage_has_neither_verdict_nor_number() -> None:
    for changes in ({"probability": 0.5}, {"verdict": "clear"}):
        with pytest.raises(ValueError, match="skipped"):
            StageResult.model_validate(
                {"stage": "vlm", "verdict": "undecided", "milliseconds": 0, "skipped": "off"} | changes
            )


@pytest.mark.parametrize(
    ("weights", "trace", "expected"),
    [
        # none: the last
        ({}, [seen("classifier", 0.8), seen("vlm", 0.4)], 0.4),
        # equal: the mean of the log-odds
        ({"classifier": 1.0, "vlm": 1.0}, [seen("classifier", 0.8), seen("vlm", 0.2)], 0.5),
        # 1 to 3: odds 4 to the 1/4 times 1 to the 3/4
        ({"classifier": 0.25, "vlm": 0.75}, [seen("classifier", 0.8), seen("vlm", 0.5)], 0.5858),
        # a skipped stage leaves the shares of the others as they are
        ({"classifier": 0.25, "vlm": 0.75}, [seen("classifier", 0.8), skipped_result("vlm", "off")], 0.8),
        # weight for a stage that is not there, or for none that is: the last
        ({"detectors": 1.0}, [seen("classifier", 0.8), seen("vlm", 0.4)], 0.4),
        # certainty is finite
        ({"classifier": 1.0, "vlm": 1.0}, [seen("classifier", 1.0), seen("vlm", 0.0)], 0.5),
    ],
)
def test_the_pool_of_estimates(weights: dict[str, float], trace: list[StageResult], expected: float) -> None:
    assert estimate(trace, FusionRule(weights=weights)) == pytest.approx(expected, abs=1e-4)


def test_weights_do_not_overrule_a_sure_stage() -> None:
    trace = [seen("classifier", 0.97), seen("vlm", 0.01)]
    assert decide(trace, FusionRule(weights={"vlm": 1.0})).decided_by == "classifier"


@pytest.mark.parametrize(
    ("probability", "verdict"),
    [
        (0.0, "clear"),
        # both exits are inclusive
        (0.12, "clear"),
        (0.1201, "undecided"),
        (0.5, "undecided"),
        (0.8799, "undecided"),
        (0.88, "roadwork"),
        (1.0, "roadwork"),
    ],
)
def test_exits_are_inclusive(probability: float, verdict: str) -> None:
    assert verdict_of(probability, EXITS) == verdict


@pytest.mark.parametrize("exits", [{"high": 0.4, "low": 0.1}, {"high": 0.9, "low": 0.6}, {"high": 1.1, "low": 0.1}])
def test_exits_on_the_wrong_side_are_refused(exits: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Exits(**exits)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_the_label_agrees_with_the_probability(probabilities: list[float]) -> None:
    decision = decide([seen("classifier", p) for p in probabilities])
    assert (decision.label == "roadwork") == (decision.probability > 0.5)
    assert decision.probability in probabilities


RESULTS = st.builds(
    lambda stage, kind, p: {"seen": seen(stage, p), "silent": silent(stage), "skip": skipped_result(stage, "failed")}[
        kind
    ],
    st.sampled_from(["classifier", "detectors", "vlm"]),
    st.sampled_from(["seen", "silent", "skip"]),
    st.floats(0, 1),
)  # fmt: skip


@given(
    st.lists(RESULTS, min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(["classifier", "vlm"]), st.floats(0, 1)),
)
def test_any_trace_gives_an_answer_or_says_why_not(trace: list[StageResult], weights: dict[str, float]) -> None:
    rule = FusionRule(weights=weights)
    try:
        decision = decide(trace, rule)
    except NoEstimateError:
        assert estimate(trace, rule) is None
        return
    assert (decision.label == "roadwork") == (decision.probability > 0.5)
    opinions = [one.probability for one in trace if one.probability is not None]
    assert min(opinions) - 1e-5 <= decision.probability <= max(opinions) + 1e-5
