"""A batch is there whole or not at all, and a change of it is an error that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.common.files import write_json
from tasks.data.batches import BATCH, MANIFEST, batch_digests, check_batch, find_batches, finished_batch
from tasks.data.schema import DataError
from tests.support.batches import digest, write_batch


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    return write_batch(tmp_path / "hard" / "2026-11-22", "a", "b")


def test_a_folder_without_manifest_is_no_batch(tmp_path: Path) -> None:
    assert finished_batch(tmp_path / "none") is None
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / BATCH).write_bytes(b"PAR1")
    assert finished_batch(tmp_path / "half") is None
    with pytest.raises(DataError, match=r"half/manifest\.json: missing"):
        check_batch(tmp_path / "half")


@pytest.mark.parametrize("gone", [True, False])
def test_a_changed_file_is_named(batch: Path, gone: bool) -> None:
    (batch / BATCH).unlink() if gone else (batch / BATCH).write_bytes(b"other")
    with pytest.raises(DataError, match=BATCH):
        finished_batch(batch)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"counts": {}}', '{"files": 3}'])
def test_a_damaged_manifest_is_named(batch: Path, text: str) -> None:
    (batch / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"2026-11-22/manifest\.json: .*damaged"):
        finished_batch(batch)


def test_a_manifest_must_list_the_pictures(batch: Path) -> None:
    write_json(batch / MANIFEST, {"files": {}})
    with pytest.raises(DataError, match=f"does not list {BATCH}"):
        check_batch(batch)


def test_unfinished_folders_and_files_of_dvc_are_no_batches(batch: Path, tmp_path: Path) -> None:
    mined = write_batch(tmp_path / "mined", "c")
    (batch.parent / ".2026-11-23.partial").mkdir()
    (batch.parent / "2026-11-22.dvc").write_text("outs:\n", encoding="utf-8")
    assert find_batches(mined, batch.parent) == [mined, batch]
    assert find_batches(tmp_path / "none", tmp_path / "none") == []


def test_digests_of_the_batches_that_are_there(batch: Path, tmp_path: Path) -> None:
    mined = write_batch(tmp_path / "mined", "b", "c")
    assert batch_digests([mined, batch, tmp_path / "none"]) == {digest("a"), digest("b"), digest("c")}
