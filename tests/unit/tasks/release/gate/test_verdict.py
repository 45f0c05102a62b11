"""The verdict as a table, what may pass, and that neither depends on who is called challenger."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.release.gate.verdict import Endpoint, Verdict, judge, may_pass

MANY = settings(max_examples=60, deadline=None)
ORDER = {"worse": 0, "inconclusive": 1, "no_worse": 2, "better": 3}


def verdict(*intervals: tuple[float, float], gained: int = 0, lost: int = 0, p: float = 1.0) -> Verdict:
    """Judge differences with a margin of 0.02 at 95 %."""
    return judge([Endpoint(low, high, 0.02) for low, high in intervals], gained=gained, lost=lost, p=p, confidence=0.95)


@pytest.mark.parametrize(
    ("intervals", "places", "expected"),
    [
        # a loss that is shown, however small: the margin is for doubt
        ([(-0.05, -0.001)], (0, 0, 1.0), "worse"),
        ([(-0.01, -0.001)], (0, 0, 1.0), "worse"),
        # one of the two measures is enough
        ([(-0.01, 0.03), (-0.05, -0.001)], (0, 0, 1.0), "worse"),
        # McNemar over places sees a loss that the intervals do not
        ([(-0.01, 0.01)], (2, 14, 0.004), "worse"),
        # ... and the same p for a gain is none
        ([(-0.01, 0.01)], (14, 2, 0.004), "no_worse"),
        # the interval reaches below the margin
        ([(-0.021, 0.03)], (0, 0, 1.0), "inconclusive"),
        ([(0.001, 0.03), (-0.021, 0.03)], (0, 0, 1.0), "inconclusive"),
        # the two measures contradict each other
        ([(0.001, 0.03), (-0.03, -0.001)], (0, 0, 1.0), "inconclusive"),
        # no interval at all
        ([(math.nan, math.nan)], (0, 0, 1.0), "inconclusive"),
        # within the margin, at it, and identical
        ([(-0.02, 0.01), (-0.01, 0.02)], (0, 0, 1.0), "no_worse"),
        ([(0.0, 0.0), (0.0, 0.0)], (0, 0, 1.0), "no_worse"),
        # a gain
        ([(0.001, 0.02), (-0.01, 0.04)], (0, 0, 1.0), "better"),
        ([(0.001, 0.02), (0.002, 0.04)], (9, 1, 0.02), "better"),
    ],
)
def test_verdicts(intervals: list[tuple[float, float]], places: tuple[int, int, float], expected: str) -> None:
    assert verdict(*intervals, gained=places[0], lost=places[1], p=places[2]) == expected


@pytest.mark.parametrize(
    ("found", "failures", "override", "scheduled", "expected"),
    [
        ("worse", (), None, True, False),
        ("inconclusive", (), None, True, False),
        # nobody overrides worse, a failed check, or on a schedule
        ("worse", (), "I want it", False, False),
        ("inconclusive", ("floor",), "I want it", False, False),
        ("better", ("slice",), "I want it", False, False),
        ("first", ("floor",), "I want it", False, False),
        ("inconclusive", (), "I want it", True, False),
        # a reason has words
        ("inconclusive", (), "  ", False, False),
        ("inconclusive", (), None, False, False),
        ("inconclusive", (), "reviewed by hand", False, True),
        ("better", (), None, True, True),
        ("no_worse", (), None, True, True),
        ("first", (), None, True, True),
    ],
)
def test_what_may_pass(
    found: Verdict, failures: tuple[str, ...], override: str | None, scheduled: bool, expected: bool
) -> None:
    assert may_pass(found, failures, override=override, scheduled=scheduled) is expected


ENDS = st.tuples(st.integers(-60, 60), st.integers(-60, 60)).map(lambda ends: (min(ends) / 1000, max(ends) / 1000))
INTERVALS = st.lists(ENDS, min_size=1, max_size=3)
PLACES = st.tuples(st.integers(0, 20), st.integers(0, 20), st.floats(0, 1))


def swapped(intervals: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(-high, -low) for low, high in intervals]


@given(INTERVALS, PLACES)
@MANY
def test_swapping_the_two_makes_better_worse(
    intervals: list[tuple[float, float]], places: tuple[int, int, float]
) -> None:
    gained, lost, p = places
    one = verdict(*intervals, gained=gained, lost=lost, p=p)
    other = verdict(*swapped(intervals), gained=lost, lost=gained, p=p)
    if one == "better":
        assert other == "worse"
    if one == "worse":
        # the other side must show a gain and that nothing else is lost, so it may also stay open
        assert other in ("better", "inconclusive", "no_worse")
    assert {one, other} != {"better"}


@given(ENDS)
@MANY
def test_a_single_endpoint_flips_exactly_where_a_side_is_shown_to_win(ends: tuple[float, float]) -> None:
    assert (verdict(ends) == "better") == (verdict(*swapped([ends])) == "worse")


@given(INTERVALS, PLACES, st.integers(0, 40))
@MANY
def test_a_challenger_that_gains_more_is_never_judged_lower(
    intervals: list[tuple[float, float]], places: tuple[int, int, float], shift: int
) -> None:
    gained, lost, p = places
    higher = [(low + shift / 1000, high + shift / 1000) for low, high in intervals]
    before = verdict(*intervals, gained=gained, lost=lost, p=p)
    assert ORDER[verdict(*higher, gained=gained, lost=lost, p=p)] >= ORDER[before]
    # nor where fewer places are lost, or the test is less sure of a loss
    assert ORDER[verdict(*intervals, gained=gained, lost=0, p=1.0)] >= ORDER[before]
