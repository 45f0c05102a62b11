"""What lies on disk becomes series: ledger, batches, reviews, the gate's report, and labels joined with answers."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from cascade.inbox.store import CONTROL, HARD, save
from tasks.common.files import sha256, write_json
from tasks.config import Params, load_params
from tasks.data.reviews import Review, write_file
from tasks.monitoring import labelled, pipeline, series
from tasks.monitoring.pipeline import Places, releases
from tasks.release import ledger
from tasks.release.gate.report import Comparison, Figure, GateReport
from tasks.release.ledger import Promotion
from tests.support.paths import ROOT

DAY = 86400
# release that answered, share of the inbox, probability, label of the review
ANSWERED = [
    ("b", CONTROL, 0.9, 1),
    ("b", CONTROL, 0.2, 1),
    ("b", CONTROL, 0.3, None),
    ("a", CONTROL, 0.9, 0),
    ("b", HARD, 0.9, 0),
]


def line(day: int, release: str, previous: str | None, action: str = "promote") -> Promotion:
    when = f"2026-11-{day:02d}T00:00:00+00:00"
    return Promotion(when=when, who="ann", why="test", release=release, previous=previous, action=action)


def at(day: int) -> float:
    return pipeline._seconds(f"2026-11-{day:02d}T00:00:00+00:00")


@pytest.mark.parametrize(
    ("lines", "live", "first"),
    [
        ([line(1, "a", None)], "a", 1),  # the first one
        ([line(1, "a", None), line(5, "b", "a")], "b", 5),  # a newer one
        ([line(1, "a", None), line(5, "b", "a"), line(6, "a", "b", "rollback")], "a", 1),  # as old as it is
        ([line(1, "a", None), line(5, "b", "a"), line(6, "a", "b", "rollback"), line(7, "b", "a")], "b", 5),
    ],
)
def test_the_age_is_that_of_the_release(lines: list[Promotion], live: str, first: int) -> None:
    found = releases(lines, 90)
    assert found[series.CHAMPION] == {(live,): 1}
    assert found[series.FIRST_LIVE] == {(): at(first)}
    assert found[series.DEADLINE] == {(): at(first) + 90 * DAY}
    assert sum(found[series.PROMOTIONS].values()) == len(lines)


def test_without_a_release_there_is_no_age() -> None:
    assert releases([], 90) == {series.PROMOTIONS: {("promote",): 0, ("rollback",): 0}}


def report(folder: Path, challenger: str, when: str, *failures: str) -> None:
    compared = Comparison(
        name="mcc", challenger=Figure(value=0.9), champion=Figure(value=None), difference=Figure(value=None)
    )
    document = GateReport(
        challenger=challenger, champion="a", verdict="better", failures=failures, faults=(), passes=not failures,
        reason="", when=when, comparisons=(compared,),
    )  # fmt: skip
    (folder / challenger).mkdir(parents=True)
    (folder / challenger / "gate.json").write_text(document.model_dump_json())


def test_the_newest_report_of_the_gate_counts(tmp_path: Path) -> None:
    report(tmp_path, "older", "2026-11-09T00:00:00+00:00")
    report(tmp_path, "newer", "2026-11-10T00:00:00+00:00", "latency")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "gate.json").write_text("{}")
    found = pipeline.gate(tmp_path)
    assert found[series.GATE_CHECK][("latency",)] == 0
    assert found[series.GATE_CHECK][("golden",)] == 1
    assert found[series.GATE_PASSED] == {(): 0.0}
    # what is undefined is left out, not 0
    assert found[series.GATE_MEASURE] == {("mcc", "challenger"): 0.9}
    assert pipeline.gate(tmp_path / "none") == pipeline.gate(None) == {}


@pytest.mark.parametrize(
    ("probabilities", "labels", "accuracy", "mcc"),
    [
        ([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0], 1.0, 1.0),  # all right
        ([0.9, 0.8, 0.1, 0.2], [0, 0, 1, 1], 0.0, -1.0),  # all wrong
        ([0.9, 0.8, 0.9, 0.9], [1, 1, 0, 0], 0.5, 0.0),  # always roadwork
    ],
)
def test_scores_by_hand(probabilities: list[float], labels: list[int], accuracy: float, mcc: float) -> None:
    pictures = [labelled.Answered(0, "", p, label) for p, label in zip(probabilities, labels, strict=True)]
    found = labelled.scores(pictures)
    assert found[series.ACCURACY] == pytest.approx(accuracy)
    assert found[series.MCC] == pytest.approx(mcc)
    assert found[series.REWARD] == pytest.approx((0.5 * max(mcc, 0) + 0.5 * accuracy) ** 3)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A ledger of two releases, an inbox, a day's batch and reviews of some of both."""
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["monitoring"]["min_labelled"] = 2
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for one in (line(1, "a", None), line(5, "b", "a")):
        ledger.append(one, Path("var/ledger.jsonl"))
    inbox, reviews = Path("var/inbox"), []
    for index, (release, share, p, label) in enumerate(ANSWERED):
        data = f"picture {index}".encode()
        save(inbox, share, data, {"probability": p, "release": release})
        os.utime(inbox / share / f"{sha256(data)}.json", (index, index))
        if label is not None:
            reviews.append(Review(sha256(data), "accept", label, "ann", "day"))
    facts: dict[str, Any] = {
        "u": {"reason": "uncertain", "served_probability": 0.6},
        "v": {"reason": "folder", "served_probability": None},
        "w": {"reason": "uncertain", "served_probability": 0.4},
    }
    pictures = {sha256(name.encode()): one for name, one in facts.items()}
    write_json(Path("data/hard_cases/2026-11-09/manifest.json"), {"files": {}, "pictures": pictures})
    reviews += [Review(sha256(name.encode()), "relabel", 1, "ann", "day") for name in ("u", "v")]
    write_file(Path("data/reviews/day.csv"), reviews)
    return load_params()


def test_labels_are_joined_with_answers(project: Params) -> None:
    found = pipeline.samples(project)
    # of the random slice only what the champion answered; of the batch only what was answered at all
    assert found[series.LABELLED] == {(CONTROL,): 2, (HARD,): 1}
    assert found[series.ACCURACY] == {(CONTROL,): 0.5}
    assert found[series.MINED] == {("folder",): 1, ("uncertain",): 2}
    assert found[series.UNREVIEWED] == {(): 1}
    assert found[series.REVIEWS] == {("accept",): 4, ("reject",): 0, ("relabel",): 2}
    assert pipeline.samples(project, Places(Path("none"), Path("none")))[series.UNREVIEWED] == {(): 0}


def test_releases_are_compared_by_the_cache(project: Params) -> None:
    assert series.SHADOW_COMPARED not in pipeline.samples(project)
    folder = project.cache.folder
    assert folder is not None
    folder.mkdir(parents=True)
    rows = [("a/1", "clear"), ("b/1", "roadwork"), ("a/2", "clear"), ("b/2", "clear"), ("b/3", "clear")]
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        database.execute("CREATE TABLE Cache (key TEXT, value TEXT)")
        database.executemany("INSERT INTO Cache VALUES (?, ?)", [(k, f'{{"label": "{v}"}}') for k, v in rows])
        database.commit()
    found = pipeline.samples(project)
    assert (found[series.SHADOW_COMPARED], found[series.SHADOW_DIFFERENT]) == ({(): 2}, {(): 1})


def test_a_damaged_cache_hides_no_other_series(project: Params) -> None:
    folder = project.cache.folder
    assert folder is not None
    folder.mkdir(parents=True)
    (folder / "cache.db").write_bytes(b"no database" * 500)
    found = pipeline.samples(project)
    assert series.SHADOW_COMPARED not in found
    assert series.PROMOTIONS in found
