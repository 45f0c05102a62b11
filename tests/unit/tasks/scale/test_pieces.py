"""What batch prediction reads: bad input first, then where the cuts lie and what is held."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.schema import DataError
from tasks.scale import pictures
from tasks.scale.pictures import read_pictures, shards
from tasks.scale.pieces import Piece, cut, find_pieces
from tests.support import tiny

PARAMS = tiny.runtime_params()
PICTURE = tiny.encoded(tiny.street(tiny.ORANGE))


def write(path: Path, rows: list[object], group: int = 4, kind: pa.DataType | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = kind or pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), path, row_group_size=group)
    return path


def named(count: int) -> list[object]:
    return [{"bytes": PICTURE, "path": f"{number}.jpg"} for number in range(count)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nowhere", "nowhere: no such file or folder"),
        # notes alone are no pictures
        (lambda folder: (folder / "notes.txt").write_text("x") and folder, "holds no image, clip or parquet file"),
    ],
)
def test_nothing_to_read_is_an_error(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_pieces(make(tmp_path), 4)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"PAR1 no more"), "not a parquet file that can be read"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
        (lambda path: pq.write_table(pa.table({"label": [1]}), path), "missing column 'image'; it has label"),
        (lambda path: write(path, ["a.jpg"], kind=pa.string()), "column 'image' is string; expected bytes"),
    ],
)
def test_a_parquet_file_that_cannot_be_read_is_named_and_costs_no_other(
    tmp_path: Path, damage: object, message: str
) -> None:
    write(tmp_path / "a.parquet", named(2))
    damage(tmp_path / "b.parquet")  # type: ignore[operator]
    found = find_pieces(tmp_path, 4)
    assert [piece.names for piece in found.pieces] == [("a.parquet",)]
    (problem,) = found.problems
    assert problem.startswith(f"{tmp_path / 'b.parquet'}: ")
    assert message in problem


def test_row_groups_are_pieces_with_the_numbers_of_their_rows(tmp_path: Path) -> None:
    found = find_pieces(write(tmp_path / "a.parquet", named(10)), 4)
    assert found.root == tmp_path
    assert [(piece.group, piece.first, piece.pictures) for piece in found.pieces] == [(0, 0, 4), (1, 4, 4), (2, 8, 2)]
    rows = [picture for piece in found.pieces for picture in read_pictures(tmp_path, piece, PARAMS)]
    assert [(row.row, row.name) for row in rows] == [(number, f"{number}.jpg") for number in range(10)]
    assert {row.path for row in rows} == {"a.parquet"}


@pytest.mark.parametrize(
    ("row", "kind", "reason"),
    [
        (None, None, "empty"),
        ({"bytes": None, "path": "x.jpg"}, None, "empty"),
        ({"bytes": b"x" * 2_000_001, "path": "x.jpg"}, None, "too_large"),
        # plain bytes, without a name
        (PICTURE, pa.binary(), None),
    ],
)
def test_rows_without_a_picture_are_refused(tmp_path: Path, row: object, kind: object, reason: str | None) -> None:
    path = write(tmp_path / "a.parquet", [row], kind=kind)  # type: ignore[arg-type]
    (piece,) = find_pieces(path, 4).pieces
    (picture,) = read_pictures(tmp_path, piece, PARAMS)
    assert (picture.refused.reason if picture.refused else None) == reason


def test_damage_inside_a_row_group_leaves_the_rows_before_it(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.parquet", [np.random.default_rng(seed).bytes(50_000) for seed in range(64)]
    # a page is checked as a whole; pyarrow checks its size every `write_batch_size` rows
    pages = {"write_batch_size": 4, "data_page_size": 100_000, "use_dictionary": False}
    pq.write_table(pa.table({"image": pa.array(rows, pa.binary())}), path, **pages)
    content = bytearray(path.read_bytes())
    middle, footer = len(content) * 3 // 4, len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[middle:footer] = bytes(footer - middle)
    path.write_bytes(content)
    (piece,) = find_pieces(path, 4).pieces
    read = []
    with pytest.raises(DataError, match=r"a\.parquet: row group 0 cannot be read"):
        read.extend(read_pictures(tmp_path, piece, PARAMS))
    assert 0 < len(read) < 64


@given(st.sets(st.text("abc", min_size=1, max_size=6), max_size=60), st.text("abc", min_size=1, max_size=6))
def test_a_file_that_is_added_moves_only_the_cuts_beside_it(names: set[str], more: str) -> None:
    before, after = (set(cut(sorted(one), 16)) for one in (names, names | {more}))
    assert sum(map(len, after)) == len(names | {more})
    # the piece it falls into is another one, or is in two parts
    assert len(after - before) <= 2


def test_shards_are_cut_by_number_and_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(PICTURE)
    rows = list(read_pictures(tmp_path, Piece(0, ("a.jpg",) * 7, 7), PARAMS))
    assert [len(shard) for shard in shards(rows, 3)] == [3, 3, 1]
    monkeypatch.setattr(pictures, "HELD_BYTES", 2 * len(PICTURE))
    assert [len(shard) for shard in shards(rows, 3)] == [2, 2, 2, 1]
