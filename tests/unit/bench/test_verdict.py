"""The logic of `make bench`'s table: what is compared with what, what fails the run, and what the message says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.history import Entry, Figure, Machine, last_kept, new_rows
from tests.bench.result import Sample
from tests.bench.rows import Bench, Row
from tests.bench.verdict import LIMIT, Line, make_lines, problems, reached, regressed

HERE = Machine(processor="EPYC", cores=2, instructions="avx2", libraries={"torch": "2.15"})
NOW, BEFORE, EARLIER = "c" * 40, "b" * 40, "a" * 40
UP = Row("speed", "stage 1, an image", "ms", "torch", "higher", 4.0)
DOWN = Row("growth", "1,000,000", "s", "100,000", "lower", 10)
ALONE = Row("seconds", "make run", "s", "", "lower", 10, "ours")
BENCH = Bench("fast", ("-m", "nothing"), (UP, DOWN, ALONE), minutes=1)
ASKED = Bench(
    "cold", ("-m", "nothing"), (Row("cold", "a fresh clone", "s", "", "lower", 480, "ours"),), 30, on_demand=True
)


def figure(ratio: float | None, ours: float = 20.0) -> Figure:
    sample = Sample(ours=ours, peer=None if ratio is None else 80.0, ratio=ratio)
    return Figure.of([sample], "ms", None)


def entry(rows: dict[str, Figure], commit: str = BEFORE, machine: Machine = HERE) -> Entry:
    return Entry(commit=commit, date="2026-11-27T12:00:00Z", machine=machine, rows=rows)


def lines(
    found: dict[str, Figure], history: list[Entry], chosen: tuple[str, ...] = ("fast",), **reasons: str
) -> dict[str, Line]:
    made = make_lines((BENCH, ASKED), found, reasons, chosen, history, HERE.kind, NOW)
    return {line.row.name: line for line in made}


@pytest.mark.parametrize(
    ("row", "before", "now", "expected"),
    [
        # higher is better: 10.1 % and 9.9 % less, exactly 10 %, no change, more
        (UP, 1000, 899, True),
        (UP, 1000, 901, False),
        (UP, 1000, 900, False),
        (UP, 1000, 1000, False),
        (UP, 1000, 2000, False),
        # lower is better: the same the other way round
        (DOWN, 1000, 1101, True),
        (DOWN, 1000, 1099, False),
        (DOWN, 1000, 1100, False),
        (DOWN, 1000, 500, False),
        # equal runs of this row differ by more than the limit
        (replace(UP, guarded=False), 1000, 500, False),
    ],
)
def test_a_ratio_that_is_more_than_a_tenth_worse_fails(row: Row, before: float, now: float, expected: bool) -> None:
    line = Line(row, BENCH, "measured", figure(now), (entry({}), figure(before)))
    assert regressed(line) is expected
    assert bool(problems([line], ())) is expected


@pytest.mark.parametrize(
    ("before", "now"),
    [
        # an absolute time, ten times as long
        (figure(None, ours=5), figure(None, ours=50)),
        # the row had no peer then, or has none now
        (figure(None), figure(2.0)),
        (figure(2.0), figure(None)),
        # both sides became slower, as on a busy machine
        (figure(4.0, ours=20), figure(4.0, ours=200)),
    ],
)
def test_no_time_fails(before: Figure, now: Figure) -> None:
    assert not regressed(Line(ALONE, BENCH, "measured", now, (entry({}), before)))


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        # first entry ever
        ([], None),
        # this kind of machine, with other libraries: these are what is watched
        ([entry({"speed": figure(4)}, machine=HERE.model_copy(update={"libraries": {}}))], 4),
        # another processor, other instructions, another number of cores
        ([entry({"speed": figure(4)}, machine=HERE.model_copy(update={"processor": "Xeon"}))], None),
        ([entry({"speed": figure(4)}, machine=HERE.model_copy(update={"instructions": "avx2 amx_tile"}))], None),
        ([entry({"speed": figure(4)}, machine=HERE.model_copy(update={"cores": 8}))], None),
        # the last of two
        ([entry({"speed": figure(4)}, EARLIER), entry({"speed": figure(5)})], 5),
        # the last entry lacks the row
        ([entry({"speed": figure(4)}, EARLIER), entry({"growth": figure(5)})], 4),
        # the commit that is measured is no comparison
        ([entry({"speed": figure(4)}), entry({"speed": figure(3)}, NOW)], 4),
        # another machine measured in between
        (
            [
                entry({"speed": figure(4)}, EARLIER),
                entry({"speed": figure(9)}, machine=HERE.model_copy(update={"cores": 8})),
            ],
            4,
        ),
    ],
)
def test_a_row_is_compared_with_the_last_one_of_the_same_kind_of_machine(
    history: list[Entry], expected: float | None
) -> None:
    found = last_kept(history, "speed", HERE.kind, NOW)
    assert (found and found[1].ratio) == expected


def test_a_row_without_a_figure_fails_and_one_left_out_by_name_does_not() -> None:
    found = lines({"speed": figure(4)}, [], fast="litserve is not installed")
    (said,) = problems(found.values(), ())
    assert said.startswith("growth, seconds: not measured: litserve is not installed")
    assert "--without fast" in said
    assert problems(lines({}, [], chosen=()).values(), ()) == []


def test_the_bench_that_wrote_too_little_is_named() -> None:
    assert lines({}, [])["speed"].reason == "the bench wrote no figures of it"


def test_a_failure_names_the_row_both_figures_and_what_to_do() -> None:
    (said,) = problems(
        lines(
            {"speed": figure(3.5), "growth": figure(9), "seconds": figure(None)}, [entry({"speed": figure(4)})]
        ).values(),
        (),
    )
    for part in (
        "speed",
        "stage 1, an image",
        "ratio 3.5",
        "4 of commit bbbbbbbb",
        "12.5%",
        "--only fast --again",
        "--accept speed",
    ):
        assert part in said


def test_an_accepted_row_fails_no_more() -> None:
    line = Line(UP, BENCH, "measured", figure(3), (entry({}), figure(4)))
    assert problems([line], ("speed",)) == []
    assert len(problems([line], ("growth",))) == 1


def test_a_row_on_demand_shows_its_last_figure_and_where_it_is_from() -> None:
    never = lines({}, [], chosen=())["cold"]
    assert (never.state, never.figure) == ("left out", None)
    assert "--with cold" in never.reason
    kept = lines({}, [entry({"cold": figure(None, ours=700)})], chosen=())["cold"]
    assert (kept.state, kept.figure and kept.figure.ours, kept.reason) == ("kept", 700, "of bbbbbbbb, 2026-11-27")
    assert reached(kept) is False


@pytest.mark.parametrize(
    ("row", "now", "expected"),
    [
        (UP, figure(4.0), True),
        (UP, figure(3.99), False),
        (DOWN, figure(10.1), False),
        (ALONE, figure(None, ours=10), True),
        (ALONE, figure(None, ours=11), False),
        # no target, no figure, no ratio
        (replace(UP, target=None), figure(4.0), None),
        (UP, None, None),
        (UP, figure(None), None),
    ],
)
def test_targets(row: Row, now: Figure | None, expected: bool | None) -> None:
    assert reached(Line(row, BENCH, "measured", now)) is expected


def test_what_is_kept_already_is_not_kept_twice() -> None:
    rows = {"speed": figure(4), "growth": figure(9)}
    assert new_rows([], HERE.kind, NOW, rows) == rows
    half = [entry({"speed": figure(4)}, NOW)]
    assert new_rows(half, HERE.kind, NOW, rows) == {"growth": figure(9)}
    assert new_rows(half, "another machine", NOW, rows) == rows
    # measured again, with another result
    assert new_rows(half, HERE.kind, NOW, {"speed": figure(5)}) == {"speed": figure(5)}


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=7))
def test_a_figure_lies_in_its_range(ratios: list[float]) -> None:
    found = Figure.of([Sample(ours=1.0, peer=one, ratio=one) for one in ratios], "ms", None)
    assert found.ratio is not None
    assert found.low <= found.ratio <= found.high
    assert found.samples == len(ratios)


def test_the_limit_is_that_of_the_documentation() -> None:
    assert LIMIT == 0.10
