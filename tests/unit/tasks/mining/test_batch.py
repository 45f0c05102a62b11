"""A batch is there whole or not at all, and whoever changes it is told."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tasks.common.files import read_json, sha256_file
from tasks.data.schema import DataError, arrow_schema, read_records
from tasks.mining.batch import MANIFEST, PARQUET, SHEET, Mined, complete, write
from tests.support.drawn import encode, street


def mined(count: int) -> list[Mined]:
    facts = {"origin": "pool", "reason": "pool", "probability": 0.5}
    return [
        Mined(encode(street(seed)[0]), f"place-{seed}", {"time": "noon"}, {**facts, "name": f"straße {seed} 東.jpg"})
        for seed in range(count)
    ]


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    write(tmp_path / "2026-01-02", mined(3), {"date": "2026-01-02", "counts": {"chosen": 3}})
    return tmp_path / "2026-01-02"


def test_no_folder_and_half_a_folder_are_no_batch(tmp_path: Path) -> None:
    assert complete(tmp_path / "none") is None
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / PARQUET).write_bytes(b"PAR1")
    assert complete(tmp_path / "half") is None


@pytest.mark.parametrize("name", [PARQUET, SHEET])
@pytest.mark.parametrize("gone", [True, False])
def test_changed_file_is_an_error_that_names_it(batch: Path, name: str, gone: bool) -> None:
    (batch / name).unlink() if gone else (batch / name).write_bytes(b"other")
    with pytest.raises(DataError, match=name):
        complete(batch)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"counts": {}}', '{"files": 3}'])
def test_damaged_manifest_is_an_error(batch: Path, text: str) -> None:
    (batch / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="damaged"):
        complete(batch)


def test_half_a_batch_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "batch.parquet").write_bytes(b"half")
    write(tmp_path / "day", mined(1), {"counts": {}})
    assert complete(tmp_path / "day") is not None


def test_content(batch: Path) -> None:
    manifest = complete(batch)
    assert manifest is not None
    assert manifest == read_json(batch / MANIFEST)
    assert manifest["files"] == {name: sha256_file(batch / name) for name in (PARQUET, SHEET)}
    rows = list(read_records(batch / PARQUET))
    assert list(rows[0]) == arrow_schema().names
    assert {(row["label"], row["source"], row["time"]) for row in rows} == {(-1, "mined", "noon")}
    # best first, and every picture is in the manifest
    assert [manifest["pictures"][row["sha256"]]["rank"] for row in rows] == [1, 2, 3]
    assert Image.open(io.BytesIO((batch / SHEET).read_bytes())).width == 600


def test_same_content_same_bytes(batch: Path, tmp_path: Path) -> None:
    write(tmp_path / "again", mined(3), {"date": "2026-01-02", "counts": {"chosen": 3}})
    for name in (PARQUET, SHEET, MANIFEST):
        assert (batch / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_empty_batch_is_a_batch(tmp_path: Path) -> None:
    write(tmp_path / "empty", [], {"counts": {"chosen": 0}})
    assert list(read_records(tmp_path / "empty" / PARQUET)) == []
