"""A user's folder: what does not fit is named, and the numbers are those of the answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from cascade.core.cascade import Cascade, Prediction
from cascade.evaluate.folder import FolderError, read_folder, score, summarise
from cascade.stages.base import StageResult
from tests.support import bad_images, tiny

SERVE = tiny.serve_params()


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cascade]:
    loaded = Cascade(tiny.write_release(tmp_path_factory.mktemp("root"))).load()
    yield loaded
    loaded.close()


def write_images(folder: Path, count: int = 4) -> None:
    """Half roadwork, half clear; the last clear one looks like roadwork."""
    for name, top in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            wrong = name == "clear" and index == count - 1
            (folder / name / f"{index}.jpg").write_bytes(tiny.encoded(tiny.street(tiny.ORANGE if wrong else top)))


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("", "column file, label is missing"),
        ("file,group\na.jpg,x\n", "column label is missing"),
        ("file,label\na.jpg,maybe\n", "line 2: label 'maybe'"),
        ("file,label\na.jpg,\n", "line 2: label ''"),
        ("file,label\nmissing.jpg,1\n", "line 2: .*missing.jpg: no such file"),
        ("file,label\n", "no labelled images"),
        ("file,label\na.jpg\n", "line 2: label ''"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, manifest: str, message: str) -> None:
    (tmp_path / "a.jpg").write_bytes(tiny.encoded(tiny.street(tiny.ORANGE)))
    (tmp_path / "manifest.csv").write_text(manifest)
    with pytest.raises(FolderError, match=message):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["missing", "empty", "unlabelled"])
def test_a_folder_without_labelled_images_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "unlabelled" / "holiday").mkdir(parents=True)
    (tmp_path / "unlabelled" / "holiday" / "a.jpg").write_bytes(b"x")
    with pytest.raises(FolderError, match=name):
        read_folder(tmp_path / name)


def test_subfolders_and_manifest_give_the_same_labels(tmp_path: Path) -> None:
    write_images(tmp_path)
    by_folder = {sample.path: sample.label for sample in read_folder(tmp_path)}
    rows = [f"{path.relative_to(tmp_path)},{label},drive-{label}" for path, label in by_folder.items()]
    (tmp_path / "manifest.csv").write_text("\n".join(["file,label,group", *rows]))
    samples = read_folder(tmp_path)
    assert {sample.path: sample.label for sample in samples} == by_folder
    assert {sample.group for sample in samples} == {"drive-0", "drive-1"}


def test_numbers_are_those_of_the_answers(tmp_path: Path, cascade: Cascade) -> None:
    write_images(tmp_path)
    report = summarise(*score(cascade, read_folder(tmp_path), SERVE), cascade.release.id, prior=None)
    assert report.metrics["n"] == report.groups == 8
    assert report.metrics["accuracy"] == pytest.approx(7 / 8)
    assert report.metrics["recall"] == 1
    assert report.metrics["exit_share"] == 1
    low, high = report.intervals["accuracy"] or (0, 0)
    assert low < 7 / 8 < high <= 1


class Shared:
    """The classifier takes pictures together; of those that go on, two share the second stage's time as well."""

    def predict(self, images: Sequence[Image.Image]) -> list[Prediction]:
        together = {"verdict": "undecided", "milliseconds": 4.0 * len(images), "batch": len(images)}
        first = StageResult(stage="classifier", **together)
        second = StageResult(stage="detectors", verdict="clear", milliseconds=100, batch=2)
        answer = {"probability": 0.1, "label": "clear", "decided_by": "detectors", "reason": "", "release": "r"}
        return [
            Prediction(**answer, stages=[first, second] if index < 2 else [first], milliseconds=0)
            for index in range(len(images))
        ]


def test_an_image_costs_its_share_of_each_batch_it_was_in(tmp_path: Path) -> None:
    write_images(tmp_path)
    scored, _ = score(Shared(), read_folder(tmp_path), SERVE)  # type: ignore[arg-type]
    # 8 pictures in one batch: 4 ms each, and the second stage's 100 ms once
    assert sum(one.milliseconds for one in scored) == pytest.approx(8 * 4 + 100)


def test_slices_are_scored_apart(tmp_path: Path, cascade: Cascade) -> None:
    write_images(tmp_path)
    rows = [
        f"{name}/{index}.jpg,{int(name == 'roadwork')},{'near' if index < 2 else 'far'},same"
        for name in ("roadwork", "clear")
        for index in range(4)
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(["file,label,grade,source", *rows]))
    report = summarise(*score(cascade, read_folder(tmp_path), SERVE), "r", prior=None)
    # a column of one value slices nothing
    assert set(report.slices) == {"grade"}
    # no column group: every image is its own
    assert report.groups == 8
    assert report.slices["grade"]["near"]["accuracy"] == 1
    assert report.slices["grade"]["far"]["accuracy"] == 0.75


def test_unreadable_images_are_listed_and_the_rest_is_scored(tmp_path: Path, cascade: Cascade) -> None:
    write_images(tmp_path)
    (tmp_path / "clear" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "clear" / "large.jpg").write_bytes(b"0" * 2_000_001)
    report = summarise(*score(cascade, read_folder(tmp_path), SERVE), "r", prior=None)
    assert {one["reason"] for one in report.skipped} == {"not_an_image", "too_large"}
    assert report.metrics["n"] == 8


def test_one_class_has_no_auc(tmp_path: Path, cascade: Cascade) -> None:
    write_images(tmp_path)
    for path in (tmp_path / "roadwork").iterdir():
        path.unlink()
    report = summarise(*score(cascade, read_folder(tmp_path), SERVE), "r", prior=None)
    assert "auc" not in report.metrics
    assert report.intervals["auc"] is None


def test_nothing_readable_is_an_error(tmp_path: Path, cascade: Cascade) -> None:
    (tmp_path / "clear").mkdir()
    (tmp_path / "clear" / "broken.jpg").write_bytes(b"")
    with pytest.raises(FolderError, match="the file is empty"):
        summarise(*score(cascade, read_folder(tmp_path), SERVE), "r", prior=None)


def test_pictures_from_the_field_are_scored_and_a_hostile_one_is_skipped(cascade: Cascade, tmp_path: Path) -> None:
    for name, (data, label) in bad_images.ODD.items():
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / name).write_bytes(data)
    (tmp_path / "clear" / "slow.bmp").write_bytes(bad_images.slow_bitmap())
    serve = SERVE.model_copy(update={"max_bytes": 50_000_000})
    report = summarise(*score(cascade, read_folder(tmp_path), serve), "r", prior=None)
    assert (report.metrics["n"], report.metrics["accuracy"]) == (len(bad_images.ODD), 1)
    assert [one["reason"] for one in report.skipped] == ["too_slow"]


def test_figures_are_for_the_prior_whatever_the_folder_holds(tmp_path: Path, cascade: Cascade) -> None:
    """Nine tenths are roadwork, all of them found; half of the clear ones are taken for it."""
    write_images(tmp_path)
    for index in range(32):
        shutil.copyfile(tmp_path / "roadwork" / "0.jpg", tmp_path / "roadwork" / f"copy{index}.jpg")
    scored, skipped = score(cascade, read_folder(tmp_path), SERVE)
    even, own = (summarise(scored, skipped, "r", prior=prior) for prior in (0.5, None))
    # of four clear ones one is taken for roadwork
    assert even.metrics["accuracy"] == pytest.approx((1 + 3 / 4) / 2)
    assert own.metrics["accuracy"] == pytest.approx(39 / 40)
    assert (even.prior, even.constant) == (0.5, {"accuracy": 0.5, "mcc": 0.0, "reward": 0.015625})
    assert own.constant["accuracy"] == pytest.approx(0.9)
    low, high = even.intervals["accuracy"] or (1, 0)
    assert low < even.metrics["accuracy"] < high
    assert (own.intervals["accuracy"] or (0, 0))[0] > low
    assert even.metrics["exit_share"] == pytest.approx(own.metrics["exit_share"])
