"""A retrain is requested by a large batch and by labels that no training has seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tasks.common.files import write_json
from tasks.data.batches import MANIFEST
from tasks.data.labelled import LabelPaths
from tasks.data.reviews import Review, write_file
from tasks.monitoring.figures import batch_size, new_labels
from tests.support.batches import digest, write_batch


def test_a_batch_passes_its_limit(tmp_path: Path) -> None:
    batch = write_batch(tmp_path / "day", "a", "b", "c")
    assert [batch_size(batch, limit).is_passed for limit in (3, 4)] == [True, False]
    assert batch_size(tmp_path / "none", 1).value == 0
    (batch / MANIFEST).unlink()
    assert batch_size(batch, 1).value == 0


def test_new_labels_are_those_that_no_training_has_seen(tmp_path: Path) -> None:
    write_batch(tmp_path / "mined", "a", "b")
    write_batch(tmp_path / "hard" / "2026-11-22", "c", "d")
    reviews = [Review(digest(name), "accept", 1, "ann", "x") for name in ("a", "b", "c", "of no batch")]
    write_file(tmp_path / "reviews" / "x.csv", [*reviews, Review(digest("d"), "reject", None, "ann", "x")])
    write_json(tmp_path / "labelled" / MANIFEST, {"pictures": [digest("a")]})
    paths = LabelPaths(*(tmp_path / name for name in ("mined", "hard", "reviews", "labelled")))
    figure = new_labels(2, paths)
    assert (figure.value, figure.is_passed) == (2, True)
    assert new_labels(2, replace(paths, labelled=tmp_path / "not yet")).value == 3
