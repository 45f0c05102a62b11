"""From batches and reviews to training rows: nothing that no person accepted, and no contradiction unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.common.files import read_json, sha256_file, write_json
from tasks.data.batches import BATCH, MANIFEST
from tasks.data.labelled import TRAIN, LabelPaths, write_labelled, write_truth
from tasks.data.reviews import COLUMNS, Review, read_reviews, write_file
from tasks.data.schema import DataError, arrow_schema, check_columns, read_records
from tasks.label import main
from tests.support.batches import digest, write_batch

HEADER = ",".join(COLUMNS)


def write_reviews(folder: Path, file: str, *lines: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / file).write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_batch(tmp_path / "mined", "a", "b", "c", "d")
    write_batch(tmp_path / "hard" / "2026-11-22", "e", "f")
    return tmp_path


def run(root: Path) -> dict[str, Any]:
    folders = (root / name for name in ("mined", "hard", "reviews", "labelled", "report.json"))
    return write_labelled(LabelPaths(*folders))


def labels(root: Path) -> dict[str, int]:
    return {row["image"]["path"]: row["label"] for row in read_records(root / "labelled" / TRAIN)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("abc,accept,1,me,b", r"x\.csv:2: sha256 is 'abc'"),
        (f"{digest('a').upper()},accept,1,me,b", "small letters"),
        (f"{digest('a')},maybe,1,me,b", "decision is 'maybe'"),
        # nothing that a person has not said becomes a label
        (f"{digest('a')},accept,,me,b", "accept needs one of"),
        (f"{digest('a')},accept,2,me,b", "label is '2'"),
        (f"{digest('a')},relabel,-1,me,b", "label is '-1'"),
        # a line that ends early
        (digest("a"), "decision is ''"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(root: Path, line: str, message: str) -> None:
    write_reviews(root / "reviews", "x.csv", line)
    with pytest.raises(DataError, match=message):
        run(root)


def test_a_missing_column_is_named(root: Path) -> None:
    (root / "reviews").mkdir()
    (root / "reviews" / "x.csv").write_text("sha256,label\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.csv: missing column 'decision', 'reviewer', 'batch'"):
        run(root)


@pytest.mark.parametrize(
    ("first", "second"),
    [("accept,1", "accept,0"), ("accept,1", "reject,"), ("reject,", "relabel,0"), ("accept,0", "relabel,1")],
)
def test_reviews_that_contradict_each_other_name_both_files(root: Path, first: str, second: str) -> None:
    write_reviews(root / "reviews", "ann.csv", f"{digest('a')},{first},ann,b")
    write_reviews(root / "reviews", "bob.csv", f"{digest('b')},accept,1,bob,b", f"{digest('a')},{second},bob,b")
    with pytest.raises(DataError, match=r"ann\.csv:2 gives picture .*, .*bob\.csv:3 gives it "):
        run(root)


@pytest.mark.parametrize(
    "breakage", ["manifest gone", "manifest cut", "batch cut", "batch gone", "not listed", "columns"]
)
def test_a_damaged_batch_is_named(root: Path, breakage: str) -> None:
    batch = root / "hard" / "2026-11-22"
    if breakage == "manifest gone":
        (batch / MANIFEST).unlink()
    elif breakage == "manifest cut":
        (batch / MANIFEST).write_text("{", encoding="utf-8")
    elif breakage == "batch cut":
        (batch / BATCH).write_bytes((batch / BATCH).read_bytes()[:-1])
    elif breakage == "batch gone":
        (batch / BATCH).unlink()
    elif breakage == "not listed":
        write_json(batch / MANIFEST, {"files": {}})
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"image": [b"1"], "label": [1]}), batch / BATCH)
        write_json(batch / MANIFEST, {"files": {BATCH: sha256_file(batch / BATCH)}})
    with pytest.raises(DataError, match="2026-11-22"):
        run(root)
    assert not (root / "labelled").exists()


def test_only_what_a_person_accepted_gets_in(root: Path) -> None:
    write_reviews(
        root / "reviews",
        "day.csv",
        f"{digest('a')},accept,1,ann,mined",
        f"{digest('b')},relabel,clear,ann,mined",
        f"{digest('c')},reject,1,ann,mined",
        f"{digest('e')},accept,roadwork,ann,2026-11-22",
        f"{digest('gone')},accept,1,ann,2026-01-01",
    )
    # the same word of a second person is no contradiction
    write_reviews(root / "reviews", "again.csv", f"{digest('a')},relabel,1,bob,mined")
    counts = run(root)
    assert counts == {
        "batches": 2, "pictures": 6, "accepted": 3, "roadwork": 2, "rejected": 1, "unreviewed": 2, "unknown": 1,
    }  # fmt: skip
    assert read_json(root / "report.json") == counts
    assert labels(root) == {"a.jpg": 1, "b.jpg": 0, "e.jpg": 1}
    rows = {row["image"]["path"]: row for row in read_records(root / "labelled" / TRAIN)}
    assert {row["source"] for row in rows.values()} == {"mined"}
    assert (len(rows["a.jpg"]["objects"]), rows["b.jpg"]["objects"]) == (1, [])


def test_without_reviews_the_file_is_empty_and_valid(root: Path) -> None:
    import pyarrow.parquet as pq

    assert run(root)["accepted"] == 0
    file = root / "labelled" / TRAIN
    assert pq.read_schema(file).equals(arrow_schema())
    check_columns(file, pq.read_schema(file))
    assert list(read_records(file)) == []


def test_without_batches_there_is_nothing_to_label(tmp_path: Path) -> None:
    assert run(tmp_path)["batches"] == 0
    assert labels(tmp_path) == {}


def test_the_same_reviews_give_the_same_bytes(root: Path) -> None:
    write_reviews(root / "reviews", "a.csv", *[f"{digest(name)},accept,1,ann,mined" for name in "fbdca"])
    run(root)
    first = {path.name: path.read_bytes() for path in (root / "labelled").iterdir()}
    run(root)
    assert first == {path.name: path.read_bytes() for path in (root / "labelled").iterdir()}


def test_the_truth_takes_the_reviewers_place(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write_batch(root / "pulled", "a", "c", "z", label=1) / BATCH
    assert write_truth(truth, root / "reviews") == 3
    assert run(root) | {"pictures": 0} == {
        "batches": 2, "pictures": 0, "accepted": 2, "roadwork": 2, "rejected": 0, "unreviewed": 4, "unknown": 1,
    }  # fmt: skip
    reviews = read_reviews(root / "reviews").values()
    assert {(review.reviewer, review.batch, review.decision) for review in reviews} == {("renderer", "pool", "accept")}
    with pytest.raises(DataError, match="expected 0 or 1"):
        write_truth(root / "mined" / BATCH, root / "reviews")
    assert main(["--truth", str(root / "nothing.parquet")]) == 1
    assert "not a parquet file" in capsys.readouterr().err


REVIEWS = st.builds(
    lambda seed, decision, value, who: Review(
        digest(str(seed)), decision, None if decision == "reject" else value, who, "b"
    ),
    st.integers(0, 9),
    st.sampled_from(["accept", "reject", "relabel"]),
    st.sampled_from([0, 1]),
    st.sampled_from(["ann", 'O"Neil, Bob', "李"]),
)


@given(st.lists(REVIEWS, unique_by=lambda review: review.sha256))
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, reviews: list[Review]) -> None:
    folder = tmp_path_factory.mktemp("reviews")
    write_file(folder / "b.csv", reviews)
    assert read_reviews(folder) == {review.sha256: review for review in reviews}
