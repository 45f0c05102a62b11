"""The 90-day clock: which warning an age has come to, and what the age is counted from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.config.clock import ClockParams, SubmissionParams
from tasks.release.age import champion_age, judge_age, released_at
from tasks.release.ledger import Promotion

CLOCK = ClockParams()
START = datetime(2026, 9, 1, tzinfo=UTC)


def line(release: str, days: float, action: str = "promote") -> Promotion:
    when = (START + timedelta(days=days)).isoformat()
    return Promotion(when=when, who="me", why="test", release=release, previous=None, action=action)


@pytest.mark.parametrize(
    ("days", "warning", "passed", "upcoming", "expired"),
    [
        (-1, 0, None, 45, False),  # the machine's clock went back
        (0, 0, None, 45, False),
        (44.99, 0, None, 45, False),
        (45, 1, 45, 70, False),  # a limit belongs to its warning
        (70, 2, 70, 75, False),
        (84.9, 3, 75, 85, False),
        (85, 4, 85, 90, False),
        (89.99, 4, 85, 90, False),
        (90, 5, 90, None, True),
        (400, 5, 90, None, True),
    ],
)
def test_warnings(days: float, warning: int, passed: float | None, upcoming: float | None, expired: bool) -> None:
    age = judge_age(days, CLOCK)
    assert (age.warning, age.passed, age.upcoming, age.expired) == (warning, passed, upcoming, expired)


@pytest.mark.parametrize("days", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_age(days: float) -> None:
    with pytest.raises(ValueError, match="no age"):
        judge_age(days, CLOCK)


@given(st.floats(-10, 1000), st.floats(0, 100))
def test_a_model_never_grows_younger(days: float, more: float) -> None:
    assert judge_age(days + more, CLOCK).warning >= judge_age(days, CLOCK).warning


@pytest.mark.parametrize(
    "values",
    [
        {"valid_days": 0},
        {"warn_days": (70, 45)},  # not in order
        {"warn_days": (45, 45)},  # twice
        {"warn_days": (0, 45)},  # a model is never younger
        {"warn_days": (45, 90)},  # that is the deadline itself
        {"valid": 90},  # unknown
    ],
)
def test_clocks_that_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ClockParams.model_validate(values)


@pytest.mark.parametrize("repository", ["name", "a/b/c", "https://huggingface.co/a/b", "a /b", ""])
def test_repositories_that_are_refused(repository: str) -> None:
    with pytest.raises(ValidationError):
        SubmissionParams(repository=repository)


def test_no_warnings_leave_the_deadline() -> None:
    assert judge_age(89, ClockParams(warn_days=())).upcoming == 90


@pytest.mark.parametrize(
    ("lines", "days"),
    [
        ([], None),
        ([line("a", 0)], 50),
        ([line("a", 0), line("b", 30)], 20),
        # back to the old model: it is as old as it was
        ([line("a", 0), line("b", 30), line("a", 40, "rollback")], 50),
    ],
)
def test_age_of_the_champion(lines: list[Promotion], days: float | None) -> None:
    age = champion_age(lines, CLOCK, START + timedelta(days=50))
    assert (age.days if age else None) == days


def test_a_time_without_zone_is_utc() -> None:
    old = line("a", 0).model_copy(update={"when": "2026-09-01T00:00:00"})
    assert released_at([old], "a") == START
    assert released_at([old], "b") is None


@pytest.mark.parametrize(("days", "words"), [(10, "80.0 of 90"), (71, "warning at 70 days"), (93, "expired 3.0 days")])
def test_sentences(days: float, words: str) -> None:
    assert words in judge_age(days, CLOCK).sentence
