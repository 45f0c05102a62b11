"""Rows in a file are those of the array, and what is damaged is said."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.mining import stored
from tasks.mining.stored import RowList, RowWriter, StoredRows, Subset

ARRAY = np.random.default_rng(1).standard_normal((20, 5)).astype(np.float16)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", ARRAY)
    return tmp_path / "rows.npy"


def test_a_file_that_lost_its_end_is_said(file: Path) -> None:
    rows = StoredRows.of_npy(file)
    os.truncate(file, file.stat().st_size - 1)
    assert (rows[:19] == ARRAY[:19]).all()
    with pytest.raises(ValueError, match="ends before row 20"):
        rows[[2, 19]]


@pytest.mark.parametrize("array", [ARRAY[0], np.asfortranarray(ARRAY)])
def test_what_is_no_matrix_in_rows_is_refused(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "rows.npy", array)
    with pytest.raises(ValueError, match=r"rows\.npy: expected a matrix in C order"):
        StoredRows.of_npy(tmp_path / "rows.npy")


def test_the_file_of_a_process_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "rows-killed").write_bytes(b"left")
    busy = RowWriter(tmp_path, 5)
    busy.write(ARRAY)
    assert len(list(tmp_path.iterdir())) == 1
    other = RowWriter(tmp_path, 5)
    assert len(list(tmp_path.iterdir())) == 2
    assert (busy.rows()[:] == ARRAY).all()
    del other
    assert not list(tmp_path.iterdir())


def test_a_row_that_is_not_there_is_an_error(file: Path) -> None:
    with pytest.raises(IndexError):
        StoredRows.of_npy(file)[20]


@pytest.mark.parametrize(
    "rows",
    [
        # all, none, some in a row, every third
        *(slice(None), slice(0, 0), slice(3, 17), slice(None, None, 3)),
        # one, the last, out of order, one of them twice, none, and a mask
        *(4, -1, [7, 3, 4, 5], [2, 9, 2, 2], [], np.arange(20) % 4 == 1),
    ],
    ids=str,
)
def test_rows_are_those_of_the_array(file: Path, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array(rows, dtype=np.int64) if isinstance(rows, list) else rows
    monkeypatch.setattr(stored, "RUN", 3)
    found = StoredRows.of_npy(file)[rows]
    assert found.dtype == ARRAY.dtype
    assert found.shape == ARRAY[rows].shape
    assert (found == ARRAY[rows]).all()
    # in another process
    assert (pickle.loads(pickle.dumps(StoredRows.of_npy(file)))[rows] == ARRAY[rows]).all()  # noqa: S301
    order = np.arange(20)[::-1]
    assert (Subset(StoredRows.of_npy(file), order)[rows] == ARRAY[::-1][rows]).all()


def test_what_is_written_in_parts_is_read_back_and_leaves_no_file(tmp_path: Path) -> None:
    wide = ARRAY.astype(np.float32)
    for make in (lambda: RowWriter(tmp_path / "new", 5), lambda: RowList(5)):
        kept = make()
        for part in (wide[:7], wide[7:7], wide[7:]):
            kept.write(part)
        rows = kept.rows()
        assert len(rows) == 20
        assert rows.dtype == np.float32
        assert (rows[:] == wide).all()
    # the file goes with the rows
    assert not list((tmp_path / "new").iterdir())
    assert RowList(5).rows().shape == RowWriter(tmp_path, 5).rows().shape == (0, 5)
