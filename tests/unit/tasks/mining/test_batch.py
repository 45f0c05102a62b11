"""What a batch holds: pictures in the schema of the data, a contact sheet and a manifest, the same bytes each time."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tasks.common.files import read_json, sha256_file
from tasks.data.batches import BATCH, MANIFEST, SHEET, check_batch
from tasks.data.schema import arrow_schema, read_records
from tasks.mining.batch import MinedImage, write
from tests.support.drawn import encode, street


def mined(count: int) -> list[MinedImage]:
    facts = {"origin": "pool", "reason": "pool", "probability": 0.5}
    pictures = [(encode(street(seed)[0]), f"place-{seed}", f"straße {seed} 東.jpg") for seed in range(count)]
    return [MinedImage(data, place, {"time": "noon"}, {**facts, "name": name}) for data, place, name in pictures]


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    write(tmp_path / "2026-01-02", mined(3), {"date": "2026-01-02", "counts": {"chosen": 3}})
    return tmp_path / "2026-01-02"


def test_half_a_batch_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "batch.parquet").write_bytes(b"half")
    write(tmp_path / "day", mined(1), {"counts": {}})
    assert check_batch(tmp_path / "day")["files"]


def test_content(batch: Path) -> None:
    manifest = check_batch(batch)
    assert manifest == read_json(batch / MANIFEST)
    assert manifest["files"] == {name: sha256_file(batch / name) for name in (BATCH, SHEET)}
    rows = list(read_records(batch / BATCH))
    assert list(rows[0]) == arrow_schema().names
    assert {(row["label"], row["source"], row["time"]) for row in rows} == {(-1, "mined", "noon")}
    # best first, and every picture is in the manifest
    assert [manifest["pictures"][row["sha256"]]["rank"] for row in rows] == [1, 2, 3]
    assert Image.open(io.BytesIO((batch / SHEET).read_bytes())).width == 600


def test_same_content_same_bytes(batch: Path, tmp_path: Path) -> None:
    write(tmp_path / "again", mined(3), {"date": "2026-01-02", "counts": {"chosen": 3}})
    for name in (BATCH, SHEET, MANIFEST):
        assert (batch / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_empty_batch_is_a_batch(tmp_path: Path) -> None:
    write(tmp_path / "empty", [], {"counts": {"chosen": 0}})
    assert list(read_records(tmp_path / "empty" / BATCH)) == []
