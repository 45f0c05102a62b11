"""Embedding with the real backbone: only new pictures, the same bytes after a kill, and no label of the pool."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from cascade.preprocess.image import decode
from tasks.classifier.embedding import embed
from tasks.classifier.encoder import choose_dtype
from tasks.common.files import read_json
from tasks.data.feature_store import load_split
from tasks.data.schema import DataError, read_records, split_file
from tasks.data.views import View, make_view
from tests.integration.tasks.conftest import ROOT, Workplace

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(workplace: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "features"
    embed(workplace.params.embed, workplace.pulled, workplace.backbone, folder, folder.parent / "metrics.json")
    return folder


def process(workplace: Workplace, root: Path) -> subprocess.Popen[bytes]:
    """Start the step as the pipeline does, on a copy of the workplace."""
    for name in ("models", "data/pulled"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            shutil.copytree(workplace.root / name, root / name, symlinks=True)
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["embed"] = workplace.params.embed.model_dump()
    (root / "params.yaml").write_text(yaml.safe_dump(document))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "tasks.embed"], cwd=root, env=environment, stdout=subprocess.DEVNULL)


def test_killed_midway_and_run_again_gives_the_same(workplace: Workplace, tmp_path: Path, undisturbed: Path) -> None:
    features = tmp_path / "data" / "features"
    first = process(workplace, tmp_path)
    try:
        while not list(features.glob("parts/*.safetensors")):
            assert first.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert not (features / "index.json").exists()
    assert process(workplace, tmp_path).wait() == 0
    assert content(features) == content(undisturbed)


def test_views_made_in_processes_give_the_same(workplace: Workplace, tmp_path: Path, undisturbed: Path) -> None:
    params = workplace.params.embed.model_copy(update={"processes": 2})
    embed(params, workplace.pulled, workplace.backbone, tmp_path / "features", tmp_path / "metrics.json")
    assert content(tmp_path / "features") == content(undisturbed)


def test_only_new_pictures_are_computed(
    workplace: Workplace, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, made = tmp_path / "features", []
    shutil.copytree(undisturbed, folder)

    def count(*args: object, **options: object) -> object:
        made.append(options["key"])
        return make_view(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("tasks.classifier.features.make_view", count)

    def again(**changes: object) -> None:
        params = workplace.params.embed.model_copy(update=changes)
        embed(params, workplace.pulled, workplace.backbone, folder, tmp_path / "metrics.json")

    again()
    assert made == []
    assert content(folder) == content(undisturbed)
    # one more view of every training picture, and only that
    again(views=5)
    assert len(made) == 16
    # one less: what is no longer wanted goes
    again()
    assert content(folder) == content(undisturbed)


def test_a_picture_that_changes_its_split_gets_what_the_other_one_keeps(
    workplace: Workplace, tmp_path: Path, undisturbed: Path
) -> None:
    """Another seed of the splits, or other data with some of the same pictures: pool and training change places."""
    pulled, swapped = workplace.pulled, tmp_path / "pulled"
    shutil.copytree(pulled, swapped)
    for name, other in (("train", "pool"), ("pool", "train")):
        shutil.copyfile(split_file(pulled, name), split_file(swapped, other))
    shutil.copytree(undisturbed, tmp_path / "kept")
    for folder in ("kept", "new"):
        embed(workplace.params.embed, swapped, workplace.backbone, tmp_path / folder, tmp_path / "metrics.json")
    assert content(tmp_path / "kept") == content(tmp_path / "new")
    assert load_split(tmp_path / "kept", "train").cover is not None


@pytest.mark.parametrize(("pooling", "width"), [("none", 257 * 768), ("statistics", 3 * 768)])
def test_vectors_are_the_backbones_of_the_view(workplace: Workplace, tmp_path: Path, pooling: str, width: int) -> None:
    import torch

    from tasks.classifier.backbone import Backbone

    params = workplace.params.embed.model_copy(update={"pooling": pooling, "views": 3})
    folder = tmp_path / "features"
    embed(params, workplace.pulled, workplace.backbone, folder, tmp_path / "metrics.json")
    split = load_split(folder, "train")
    assert split.x.shape == (16, 3, width)
    row = next(iter(read_records(split_file(workplace.pulled, "train"))))
    image = decode(row["image"]["bytes"], max_pixels=10**7, min_side=1)
    pixels, _ = make_view(image, View(2), key=row["sha256"], seed=params.seed, size=params.size)
    model = Backbone(workplace.backbone, params.layers, params.size, pooling).eval()
    with torch.inference_mode():
        expected = model(torch.from_numpy(pixels[None]))[0].numpy()
    found = split.x[split.sha256.index(row["sha256"]), split.views.index("2.0")].astype(np.float32)
    # the engine's half precision against torch in fp32
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 0.9995
    assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)


def test_cover_says_where_the_boxes_of_training_pictures_are(workplace: Workplace, undisturbed: Path) -> None:
    split = load_split(undisturbed, "train")
    assert split.cover is not None
    assert split.cover.shape == (16, 4, 256)
    rows = {row["sha256"]: row for row in read_records(split_file(workplace.pulled, "train"))}
    plain = split.cover[:, split.views.index("0.0")].astype(float)
    for digest, cover in zip(split.sha256, plain, strict=True):
        boxed, works = bool(rows[digest]["objects"]), rows[digest]["label"] == 1
        # without boxes nobody knows where the works of a roadwork picture are
        assert np.isnan(cover).all() if works and not boxed else (cover.max() > 0) == boxed
    assert load_split(undisturbed, "calibration").cover is None


def test_pool_keeps_no_label_and_challenge_is_absent(undisturbed: Path) -> None:
    splits = read_json(undisturbed / "index.json")["splits"]
    assert set(splits) == {"train", "calibration", "calibration_tta", "pool"}
    assert "label" not in splits["pool"]
    assert splits["pool"]["views"] == ["0.0"]


def test_further_files_follow_the_training_split(workplace: Workplace, tmp_path: Path, undisturbed: Path) -> None:
    further = tmp_path / "pasted.parquet"
    # as if the pool were labelled
    shutil.copyfile(split_file(workplace.pulled, "pool"), further)
    params = workplace.params.embed.model_copy(update={"extra": (further,)})
    folder = tmp_path / "features"
    embed(params, workplace.pulled, workplace.backbone, folder, tmp_path / "metrics.json")
    alone, both = (load_split(place, "train") for place in (undisturbed, folder))
    rows = list(read_records(further, columns=["label", "sha256"]))
    assert both.sha256 == [*alone.sha256, *(row["sha256"] for row in rows)]
    assert both.label.tolist() == [*alone.label.tolist(), *(row["label"] for row in rows)]
    assert np.array_equal(both.x[: len(alone.label)], alone.x)
    # no other split changes
    assert load_split(folder, "calibration").sha256 == load_split(undisturbed, "calibration").sha256


def test_a_further_file_that_is_missing_is_named(workplace: Workplace, tmp_path: Path) -> None:
    params = workplace.params.embed.model_copy(update={"extra": (tmp_path / "pasted.parquet",)})
    with pytest.raises(DataError, match=r"pasted\.parquet: no such file; embed\.extra names it"):
        embed(params, workplace.pulled, workplace.backbone, tmp_path / "features", tmp_path / "metrics.json")


@pytest.mark.parametrize("split", ["calibration", "challenge"])
def test_a_further_file_of_places_that_are_measured_on_is_refused(
    workplace: Workplace, tmp_path: Path, split: str
) -> None:
    params = workplace.params.embed.model_copy(update={"extra": (split_file(workplace.pulled, split),)})
    with pytest.raises(DataError, match="places are in train and in calibration or challenge"):
        embed(params, workplace.pulled, workplace.backbone, tmp_path / "features", tmp_path / "metrics.json")


@pytest.mark.parametrize(("wanted", "found"), [("float32", "float32"), ("bfloat16", "bfloat16")])
def test_dtype_that_is_asked_for_is_taken(wanted: str, found: str) -> None:
    assert choose_dtype(wanted) == found


def test_auto_never_changes_its_mind() -> None:
    assert choose_dtype("auto") == choose_dtype("auto") in ("float32", "bfloat16")


@pytest.mark.parametrize(("lacking", "stage"), [("backbone", "adapt"), ("pulled", "pull_data")])
def test_missing_inputs_are_named(workplace: Workplace, tmp_path: Path, lacking: str, stage: str) -> None:
    folders = {"pulled": workplace.pulled, "backbone": workplace.backbone, lacking: tmp_path / lacking}
    with pytest.raises(DataError, match=f"{tmp_path / lacking}.*dvc repro {stage}"):
        embed(workplace.params.embed, folder=tmp_path / "features", report=tmp_path / "metrics.json", **folders)
