"""A retrain is requested neither on noise, nor on too few pictures, nor because of another release."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from cascade.inbox.store import CONTROL, HARD, forget, save
from tasks.common.files import read_json, sha256
from tasks.config.monitoring import DriftParams
from tasks.monitoring import series
from tasks.monitoring.drift import control_answers, drift, samples
from tasks.monitoring.figures import MonitoredFigure
from tests.support import tiny

RULES = DriftParams(reference=40, window=30, permutations=299, block=5, level=0.02, breaches=2, shown=4)
DAYS = [f"2026-11-{day}" for day in range(20, 30)]
embedded: list[str] = []


def embed(pictures: Iterable[tuple[str, bytes]]) -> NDArray[np.float64]:
    """Red, green and blue of the upper left pixel; notes what was asked for."""
    from tasks.data.pictures import decode_stored

    rows = []
    for digest, data in pictures:
        embedded.append(digest)
        rows.append(np.asarray(decode_stored(data))[0, 0])
    return np.array(rows, dtype=np.float64)


def answered(inbox: Path, count: int, start: int, red: int = 60, release: str = "r1", p: float = 0.3) -> None:
    """Put pictures of about one colour into the random slice, one a second."""
    random = np.random.default_rng(start)
    for index in range(start, start + count):
        colour = (int(np.clip(random.normal(red, 20), 0, 255)), *random.integers(90, 110, 2).tolist())
        data = tiny.encoded(tiny.street(colour, size=(64 + index % 100, 48 + index // 100)))
        probability = float(random.normal(p, 0.05))
        trace = {"probability": probability, "release": release, "decided_by": "vlm", "label": "clear"}
        save(inbox, CONTROL, data, trace)
        os.utime(inbox / CONTROL / f"{sha256(data)}.json", (index, index))


def run(folder: Path, day: str, space: str = "one", release: str = "r1") -> MonitoredFigure:
    return drift(RULES, folder / "inbox", release, day, embed=embed, space=space, state=folder / "state")


def test_too_little_is_no_figure(tmp_path: Path) -> None:
    figure = run(tmp_path, DAYS[0])
    assert (figure.value, figure.is_passed, figure.note) == (None, False, "0 of 40 pictures to compare with")
    answered(tmp_path / "inbox", 40, 0)
    assert "0 of 30 new pictures" in run(tmp_path, DAYS[0]).note
    answered(tmp_path / "inbox", 29, 1000, red=200)
    assert "29 of 30 new pictures" in run(tmp_path, DAYS[0]).note


def test_drift_needs_as_many_runs_in_a_row(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    answered(inbox, 40, 0)
    run(tmp_path, DAYS[0])
    answered(inbox, 30, 1000, red=200)
    first = run(tmp_path, DAYS[1])
    assert (first.value, first.is_passed) == (1, False)
    # the same day again counts once, and so do the same pictures on another day
    assert run(tmp_path, DAYS[1]).value == 1
    same = run(tmp_path, DAYS[2])
    assert (same.value, same.note) == (1, "0 of 15 pictures since the last figure")
    answered(inbox, 15, 2000, red=200)
    second = run(tmp_path, DAYS[3])
    assert (second.value, second.is_passed) == (2, True)
    assert "embedding" in second.note

    # back to normal: the newest pictures count, and those that the release first saw stay the measure
    answered(inbox, 30, 3000)
    assert (run(tmp_path, DAYS[4]).value, run(tmp_path, DAYS[4]).is_passed) == (0, False)


def test_the_reference_outlives_its_pictures(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    answered(inbox, 40, 0)
    run(tmp_path, DAYS[0])
    reference = [digest for digest, *_ in read_json(tmp_path / "state" / "r1" / "state.json")["reference"]]
    assert forget(inbox, reference, CONTROL) == 40
    answered(inbox, 30, 1000, red=200)
    embedded.clear()
    assert run(tmp_path, DAYS[1]).value == 1
    # what was embedded once is not embedded again
    assert not set(embedded) & set(reference)
    assert len(embedded) == 30
    answered(inbox, 15, 2000, red=200)
    embedded.clear()
    run(tmp_path, DAYS[2])
    assert len(embedded) == 15


def test_embeddings_of_two_kinds_are_never_compared(tmp_path: Path) -> None:
    answered(tmp_path / "inbox", 40, 0)
    answered(tmp_path / "inbox", 30, 1000)
    assert run(tmp_path, DAYS[0]).value == 0
    embedded.clear()
    run(tmp_path, DAYS[1], space="another")
    assert len(embedded) == 70


def test_only_the_random_slice_of_this_release_counts(tmp_path: Path) -> None:
    answered(tmp_path, 2, 0)
    answered(tmp_path, 1, 10, release="r2")
    save(tmp_path, HARD, b"hard", {"probability": 0.5, "release": "r1"})
    for name, trace in (("no number", {"probability": None}), ("no release", {"probability": 0.4})):
        save(tmp_path, CONTROL, name.encode(), trace)
    (tmp_path / CONTROL / f"{'0' * 64}.json").write_text("{", encoding="utf-8")
    assert [one.exit for one in control_answers(tmp_path, "r1")] == ["vlm clear"] * 2
    assert control_answers(tmp_path / "nothing", "r1") == []


def test_the_report_shows_what_moved_most(tmp_path: Path) -> None:
    answered(tmp_path / "inbox", 40, 0)
    answered(tmp_path / "inbox", 30, 1000, red=200)
    run(tmp_path, DAYS[0])
    folder = tmp_path / "state" / "r1"
    page = (folder / f"{DAYS[0]}.md").read_text(encoding="utf-8")
    assert f"| {DAYS[0]} |" in page
    assert "| yes |" in page
    assert (folder / f"{DAYS[0]}.jpg").stat().st_size > 1000
    assert folder.stat().st_mode & 0o077 == 0


def test_the_newest_figure_becomes_series(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert set(samples(state, "r1", RULES)) == {series.DRIFT_LEVEL}
    answered(tmp_path / "inbox", 40, 0)
    for number in (0, 1):
        answered(tmp_path / "inbox", 30, 1000 * (number + 1), red=200)
        run(tmp_path, DAYS[number])
    found = samples(state, "r1", RULES)
    assert found[series.DRIFT_BREACHES] == {(): 2}
    assert found[series.DRIFT_EVENT] == {(): 1.0}
    assert found[series.DRIFT_P][("embedding",)] <= 0.02
    assert found[series.DRIFT_PICTURES] == {("current",): 30, ("reference",): 40}


@pytest.mark.parametrize(
    "wrong", [{"permutations": 199}, {"level": 0.0}, {"window": 5}, {"window": 40}, {"max_psi": 0.25}]
)
def test_rules_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DriftParams(**wrong)
