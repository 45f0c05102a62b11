"""Requests a minute and a day: who is let in when, and for how long the others wait."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.api.auth import ApiKey
from cascade.api.limits import DAY_SECONDS, Limits
from cascade.api.requests import Refused

DIGEST = "0" * 64
NOON = 20_000 * DAY_SECONDS + DAY_SECONDS // 2


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def limits(file: Path, clock: Clock, **kinds: int | None) -> Limits:
    keys = {"a": ApiKey(sha256=DIGEST, **kinds), "b": ApiKey(sha256=DIGEST, **kinds)}
    return Limits(keys, file, clock=clock, wall=clock)


def outcome(limit: Limits, name: str = "a") -> str:
    """`in`, or the reason and the seconds to wait."""
    try:
        limit.take(name)
    except Refused as error:
        return f"{error.reason} {error.headers['Retry-After']}"
    return "in"


@pytest.mark.parametrize(
    ("kinds", "asked"),
    [
        # (seconds after noon, key, what comes of it), one after the other
        ({}, [(0, "a", "in")] * 50),
        # a minute's requests may come at once; then one comes back every 20 s
        ({"requests_per_minute": 3}, [(0, "a", "in")] * 3 + [(0, "a", "rate_limited 20"), (5, "a", "rate_limited 15")]),
        ({"requests_per_minute": 3}, [(0, "a", "in")] * 3 + [(20, "a", "in"), (20, "a", "rate_limited 20")]),
        # no more than a minute's are saved up
        ({"requests_per_minute": 2}, [(9000, "a", "in")] * 2 + [(9000, "a", "rate_limited 30")]),
        # each key has its own
        ({"requests_per_minute": 1}, [(0, "a", "in"), (0, "b", "in"), (0, "a", "rate_limited 60")]),
        # the day ends at 00:00 UTC
        ({"requests_per_day": 2}, [(0, "a", "in")] * 2 + [(200, "a", "quota_exceeded 43000"), (200, "b", "in")]),
        ({"requests_per_day": 1}, [(0, "a", "in"), (43199.5, "a", "quota_exceeded 1"), (43200, "a", "in")]),
        # both: what the minute refuses does not count for the day
        (
            {"requests_per_minute": 1, "requests_per_day": 2},
            [(0, "a", "in"), (0, "a", "rate_limited 60"), (60, "a", "in"), (120, "a", "quota_exceeded 43080")],
        ),
    ],
)
def test_quota(tmp_path: Path, kinds: dict[str, int], asked: list[tuple[float, str, str]]) -> None:
    clock = Clock(NOON)
    limit = limits(tmp_path / "var" / "quota.sqlite", clock, **kinds)
    found = []
    for seconds, name, _ in asked:
        clock.now = NOON + seconds
        found.append(outcome(limit, name))
    assert found == [expected for *_, expected in asked]


def test_a_restart_gives_no_new_quota(tmp_path: Path) -> None:
    file, clock = tmp_path / "quota.sqlite", Clock(NOON)
    # two services at once, as during a promotion, and one after them
    both = [limits(file, clock, requests_per_day=3) for _ in range(2)]
    assert [outcome(limit) for limit in both] == ["in", "in"]
    third = limits(file, clock, requests_per_day=3)
    assert [outcome(third), outcome(third)] == ["in", "quota_exceeded 43200"]


@pytest.mark.parametrize("damage", ["no database", "locked", "a folder"])
def test_a_file_that_cannot_be_used_costs_no_answer(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "quota.sqlite"
    if damage == "no database":
        file.write_bytes(b"nothing" * 100)
    elif damage == "a folder":
        file.mkdir()
    holder = sqlite3.connect(file if damage == "locked" else ":memory:", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    limit = limits(file, Clock(NOON), requests_per_day=2)
    # counted in memory
    assert [outcome(limit) for _ in range(3)] == ["in", "in", "quota_exceeded 43200"]
    holder.close()


@given(
    limit=st.integers(1, 1000),
    gaps=st.lists(st.floats(0, 200, allow_nan=False), min_size=1, max_size=60),
)
def test_no_minute_lets_more_in_than_twice_the_limit(limit: int, gaps: list[float]) -> None:
    """A bucket that was full gives its content, and what flows in meanwhile; never more than that."""
    clock = Clock(0.0)
    bucket = limits(Path("unused"), clock, requests_per_minute=limit)
    let_in = []
    for gap in gaps:
        clock.now += gap
        if outcome(bucket) == "in":
            let_in.append(clock.now)
    for start in let_in:
        assert sum(start <= at < start + 60 for at in let_in) <= 2 * limit
