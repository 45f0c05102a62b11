"""Every source that a user may have, and what is said about those that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.config import DataSource
from tasks.data.readers import Rejected, read_path, read_rows, split_of
from tasks.data.readers.splits import split_of_place
from tasks.data.schema import SLICES, DataError, ImageRow, arrow_schema
from tests.support.drawn import dataset, encode, row, street, write_parquet, write_sample


def records(count: int = 2) -> list[dict[str, Any]]:
    return [row(seed, seed % 2).to_record() for seed in range(count)]


def table(path: Path, columns: dict[str, Any]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("column", ["image", "label"])
def test_missing_column_is_named_with_its_file(tmp_path: Path, column: str) -> None:
    path = write_parquet(tmp_path / "mine.parquet", records(), drop=[column])
    with pytest.raises(DataError, match=rf"mine\.parquet: missing column '{column}'; it has "):
        read_path(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        # labels as words would be guessed at
        ({"image": [b"x"], "label": ["Roadwork"]}, "'label' is string"),
        # probabilities are no labels
        ({"image": [b"x"], "label": [0.5]}, "'label' is double"),
        # a path is not a picture
        ({"image": ["a.jpg"], "label": [1]}, "'image' is string"),
        # decoded pixels are not an image file
        ({"image": [{"pixels": b"x"}], "label": [1]}, "'image' is struct"),
        # a place that is a number would compare unlike its string elsewhere
        ({"image": [b"x"], "label": [1], "place": [7]}, "'place' is int64"),
        ({"image": [b"x"], "label": [1], "objects": ["cone"]}, "'objects' is string"),
    ],
)
def test_column_of_another_type_is_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_path(table(tmp_path / "mine.parquet", columns))


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder / "nowhere",
        # an empty folder
        lambda folder: folder,
        lambda folder: _text(folder / "broken.parquet"),
        lambda folder: _text(folder / "sub" / "broken.parquet").parent,
        # a manifest without labels
        lambda folder: _text(folder / "manifest.csv", "file,group\na.jpg,1\n").parent,
    ],
)
def test_source_that_cannot_be_read_names_its_path(tmp_path: Path, make: Any) -> None:
    path = make(tmp_path)
    with pytest.raises(DataError, match=str(path)):
        list(read_path(path))


def _text(path: Path, text: str = "no parquet") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": [None], "label": [1]}, "empty"),
        ({"image": [{"bytes": None, "path": "a.jpg"}], "label": [1]}, "empty"),
        ({"image": [b"x"], "label": [2]}, "bad_label"),
        ({"image": [b"x", b"y"], "label": [None, 1]}, "bad_label"),
    ],
)
def test_bad_row_is_handed_on_as_rejected(tmp_path: Path, columns: dict[str, Any], reason: str) -> None:
    import pyarrow as pa

    if columns["image"][0] is None:
        columns = {**columns, "image": pa.array([None], pa.binary())}
    first = next(iter(read_path(table(tmp_path / "mine.parquet", columns))))
    assert isinstance(first, Rejected)
    assert first.reason == reason


def test_two_columns_are_enough(tmp_path: Path) -> None:
    item = row(1, 1)
    read = list(read_path(table(tmp_path / "mine.parquet", {"image": [item.data], "label": [1]})))
    split, slices = split_of_place(item.sha256), dict.fromkeys(SLICES, "")
    assert read == [ImageRow(item.data, "mine.parquet#0", 1, item.sha256, item.sha256, split, slices=slices)]


def test_sample_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = dataset()
    read = list(read_rows(DataSource(source="sample", repo="x"), sample=write_sample(tmp_path)))
    assert sorted(map(str, read)) == sorted(map(str, rows))
    # so that a copy in the training set is the one that goes
    assert read[0].split == "challenge"


def test_parquet_files_behind_links_are_read(tmp_path: Path) -> None:
    """Links as `cache.type symlink` of DVC makes them, and a folder on another disk."""
    folder, disk = tmp_path / "set", tmp_path / "disk"
    for place, seed, name in ((folder, 1, "a.parquet"), (disk / "part", 2, "b.parquet")):
        place.mkdir(parents=True)
        item = row(seed, 1)
        table(place / name, {"image": [item.data], "label": [1]})
    (folder / "a.parquet").rename(disk / "0123")
    (folder / "a.parquet").symlink_to(disk / "0123")
    (folder / "more").symlink_to(disk / "part")
    (disk / "part" / "round").symlink_to(folder)
    assert len({item.sha256 for item in read_path(folder) if isinstance(item, ImageRow)}) == 2


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.parquet", "train"),
        ("test-00000-of-00003.parquet", "challenge"),
        ("validation.parquet", "calibration"),
        ("pictures.parquet", ""),
        # not a split by itself
        ("training_notes.parquet", ""),
    ],
)
def test_split_of_file_name(name: str, split: str) -> None:
    assert split_of(Path(name)) == split


def test_class_folders(tmp_path: Path) -> None:
    for folder, seed in (("roadwork", 1), ("clear", 2), ("none", 3), ("1", 4)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").write_bytes(encode(street(seed)[0]))
    (tmp_path / "clear" / "notes.txt").write_text("hello")
    read = list(read_path(tmp_path))
    assert {(item.name, item.label) for item in read if isinstance(item, ImageRow)} == {
        ("roadwork/a.jpg", 1), ("clear/a.jpg", 0), ("none/a.jpg", 0), ("1/a.jpg", 1),
    }  # fmt: skip
    assert [(item.name, item.reason) for item in read if isinstance(item, Rejected)] == [
        ("clear/notes.txt", "not_an_image")
    ]


def test_manifest_gives_labels_and_groups(tmp_path: Path) -> None:
    for seed in (1, 2):
        (tmp_path / f"{seed}.jpg").write_bytes(encode(street(seed)[0]))
    lines = ["file,label,group", "1.jpg,roadwork,drive", "2.jpg,0,", "3.jpg,1,", "1.jpg,maybe,"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    first, second, missing, unclear = read_path(tmp_path)
    assert isinstance(first, ImageRow)
    assert isinstance(second, ImageRow)
    assert (first.label, first.place) == (1, "drive")
    assert (second.label, second.place) == (0, second.sha256)
    assert isinstance(missing, Rejected)
    assert isinstance(unclear, Rejected)
    assert (missing.reason, unclear.reason) == ("missing", "bad_label")


def test_records_fit_the_schema() -> None:
    assert list(row(1, 1).to_record()) == arrow_schema().names
