"""A local copy of natix-network-org/roadwork: one setting, no drive on two sides, the validators' filter, slices."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tasks.data.readers import Rejected, read_path
from tasks.data.schema import SLICES, DataError, ImageRow
from tests.support.natix import frame, schema, write_natix, write_shards


def rows_of(folder: Path, seed: int = 0) -> list[ImageRow]:
    return [row for row in read_path(folder, seed=seed) if isinstance(row, ImageRow)]


def rejected_of(folder: Path) -> list[Rejected]:
    return [row for row in read_path(folder) if isinstance(row, Rejected)]


@pytest.fixture(scope="module")
def natix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_natix(tmp_path_factory.mktemp("natix"))


def test_no_drive_lies_on_two_sides(natix: Path) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows_of(natix):
        splits[row.place].add(row.split)
    assert len(splits) == 30
    assert all(len(found) == 1 for found in splits.values())
    # test is the challenge set, and nothing else is
    assert {place for place, found in splits.items() if found == {"challenge"}} == {
        f"test_{n}" for n in range(1000, 1006)
    }
    assert {split for found in splits.values() for split in found} == {"train", "calibration", "pool", "challenge"}


def test_every_split_that_is_measured_has_both_labels(natix: Path) -> None:
    counts = Counter((row.split, row.label) for row in rows_of(natix))
    assert all(counts[split, label] for split in ("train", "calibration", "challenge") for label in (0, 1))


def test_the_split_depends_on_the_seed_alone(natix: Path) -> None:
    first, second, other = ({row.place: row.split for row in rows_of(natix, seed)} for seed in (0, 0, 1))
    assert first == second
    assert first != other
    assert {place for place, split in other.items() if split == "challenge"} == {
        place for place, split in first.items() if split == "challenge"
    }


def test_new_drives_never_move_old_ones(natix: Path, tmp_path: Path) -> None:
    more = write_natix(tmp_path, drives=30)
    old = {row.place: row.split for row in rows_of(natix)}
    new = {row.place: row.split for row in rows_of(more)}
    assert len(new) == len(old) + 6
    assert {place: new[place] for place in old} == old


def test_tags_become_slices(natix: Path) -> None:
    row = rows_of(natix)[0]
    assert set(row.slices) == set(SLICES)
    assert row.slices["time"] in ("day", "night")
    assert (row.slices["weather"], row.slices["road"], row.slices["region"]) == ("sunny", "urban", "boston")
    # travel_alteration is the label in other words
    assert row.slices["distance"] == ""
    assert row.objects == ()


@pytest.mark.parametrize(
    ("label", "description", "used"),
    [
        (1, "Works ahead.", True),
        (0, None, True),
        (0, "", True),
        (0, "  ", True),
        # validators never send these
        (1, None, False),
        (1, "", False),
        (0, "A quiet street.", False),
    ],
)
def test_validators_filter(tmp_path: Path, label: int, description: str | None, used: bool) -> None:
    write_shards(tmp_path, "train", [frame(1, label, "a", scene_description=description)], 1)
    (row,) = read_path(tmp_path)
    assert isinstance(row, ImageRow) == used
    if isinstance(row, Rejected):
        assert row.reason == "description"
        assert row.name == "000001.jpg"


def test_a_drive_that_test_has_too_is_left_out_of_training(tmp_path: Path) -> None:
    write_shards(tmp_path, "test", [frame(1, 1, "drive"), frame(2, 0, "other")])
    write_shards(tmp_path, "train", [frame(3, 1, "drive"), frame(4, 0, "another")])
    assert {(row.name, row.split) for row in rows_of(tmp_path) if row.split == "challenge"} == {
        ("000001.jpg", "challenge"), ("000002.jpg", "challenge"),
    }  # fmt: skip
    (left_out,) = rejected_of(tmp_path)
    assert (left_out.name, left_out.reason) == ("000003.jpg", "place_taken")


def test_a_frame_without_a_drive_is_its_own_place(tmp_path: Path) -> None:
    write_shards(tmp_path, "train", [frame(1, 1, None), frame(2, 0, "")], 1)
    assert all(row.place == row.sha256 and row.split for row in rows_of(tmp_path))


@pytest.mark.parametrize(
    ("drives", "positives"),
    [
        # one label a drive, few drives: the hash alone would leave a split without one of them
        (6, None),
        (8, None),
        (12, None),
    ],
)
def test_few_drives_still_give_both_labels_to_both_splits(tmp_path: Path, drives: int, positives: Any) -> None:
    for seed in range(5):
        rows = [frame(2 * drive + index, drive % 2, f"d{drive}") for drive in range(drives) for index in range(2)]
        write_shards(tmp_path, "train", rows, 1)
        write_shards(tmp_path, "test", [frame(900, 1, "t1"), frame(901, 0, "t2")], 1)
        counts = Counter((row.split, row.label) for row in rows_of(tmp_path, seed))
        assert all(counts[split, label] for split in ("train", "calibration", "challenge") for label in (0, 1)), seed


def test_a_tag_of_another_type_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([frame(1, 1, "a")], schema())
    index = table.schema.get_field_index("video_info.vid_id")
    pq.write_table(table.set_column(index, "video_info.vid_id", pa.array([7])), tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"train\.parquet: column 'video_info\.vid_id' is int64; expected strings"):
        read_path(tmp_path)
