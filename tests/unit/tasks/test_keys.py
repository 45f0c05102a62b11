"""What is kept between runs is kept under a key of the code that made it: features, checkpoints, cached maps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.classifier.embedding import fingerprint
from tasks.config import Params, load_params
from tests.support.paths import ROOT
from tests.support.project import edit

PARAMS = load_params(ROOT / "params.yaml")
PROVENANCE: dict[str, Any] = {
    "detector": "detr", "params": {}, "training": {}, "layers": [4, 6], "size": 224, "seed": 7,
    "backbone": "b" * 64, "data": "d" * 64, "start": "random", "balance": {},
}  # fmt: skip
ALL = {"features", "changes", "weights", "maps"}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the key of features reads of a backbone."""
    folder = tmp_path_factory.mktemp("backbone")
    (folder / "manifest.json").write_text(json.dumps({"files": {"model.safetensors": "a" * 64}}))
    (folder / "config.json").write_text(json.dumps({"hidden_size": 384}))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's code in a folder of its own."""
    for name in ("cascade", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "blender"))
    return tmp_path


def keys(root: Path, backbone: Path, params: Params = PARAMS) -> dict[str, str]:
    """Keys of the features of `embed`, the checkpoints of `adapt` and `detect`, and the maps that `detect` caches."""
    from tasks.classifier.lora.training import changes_key
    from tasks.detection.training import features_key, weights_key

    adapted = {**PROVENANCE, "params": params.adapt.model_dump(mode="json"), "start": {}}
    return {
        "features": fingerprint(params.embed, backbone, root)["key"],
        "changes": changes_key(params, adapted, root).digest,
        "weights": weights_key(params.detect, PROVENANCE, root).digest,
        "maps": features_key(params.detect, params.training, PROVENANCE, root).digest,
    }


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        # the head's loss: a checkpoint is of no use, and nothing is embedded again
        ("tasks/classifier/losses.py", "2 * balance", "3 * balance", {"changes"}),
        # a detector's loss: its cached maps stay
        ("tasks/detection/yolo.py", "loss.sum() / len", "loss.sum() * 2 / len", {"weights"}),
        ("tasks/detection/detr.py", ".logits.sigmoid()", ".logits.tanh()", {"weights"}),
        # what turns pixels into maps
        ("tasks/detection/frozen.py", "/ 255", "/ 256", {"weights", "maps"}),
        # the choice of a precision, which adapt computes in too, lies beside the encoder
        ("tasks/classifier/encoder.py", "eval()", "train()", {"features", "changes"}),
        ("tasks/classifier/backbone.py", "amax(dim=1)", "amin(dim=1)", {"features", "changes"}),
        # pixels themselves
        ("cascade/preprocess/tta.py", "HALF_PATCH = 7", "HALF_PATCH = 6", ALL),
        ("tasks/data/views.py", "DEGREES = 20.0", "DEGREES = 30.0", ALL),
        ("cascade/preprocess/pixels.py", "BICUBIC", "BILINEAR", ALL),
        # the loop and its samples
        ("tasks/training/loop.py", "zero_grad()", "zero_grad(set_to_none=False)", {"changes", "weights"}),
        ("tasks/training/sampler.py", "permutation(", "shuffled(", {"changes", "weights", "maps"}),
        # comments and docstrings
        ("tasks/classifier/losses.py", "# distance of", "# gap of", set()),
        ("tasks/data/views.py", "What a picture looks like", "How a picture looks", set()),
        ("tasks/training/loop.py", "The one training loop", "One loop", set()),
        # code that computes none of them
        ("tasks/classifier/calibration.py", "TOLERANCE = 1e-12", "TOLERANCE = 1e-11", set()),
    ],
)
def test_edited_code_makes_the_keys_of_what_it_computes_others(
    project: Path, backbone: Path, name: str, old: str, new: str, changed: set[str]
) -> None:
    before = keys(project, backbone)
    edit(name, old, new)(project)
    after = keys(project, backbone)
    assert {kind for kind in ALL if before[kind] != after[kind]} == changed


@pytest.mark.parametrize(
    ("section", "change", "changed"),
    [
        ("embed", {"seed": 8}, {"features"}),
        # more views of the same pictures, and how many go through the backbone at once
        ("embed", {"views": 9, "batch_size": 4}, set()),
        ("train", {"gamma": 3.0}, {"changes"}),
        ("train", {"epochs": 9}, set()),
        ("training", {"ema_decay": 0.9}, {"changes"}),
        ("training", {"colour_jitter": 0.1}, {"changes", "maps"}),
        ("detect", {"min_box": 9.0}, {"weights", "maps"}),
        ("detect", {"min_score": 0.1}, set()),
    ],
)
def test_parameters_count_where_they_are_used(
    backbone: Path, section: str, change: dict[str, Any], changed: set[str]
) -> None:
    other = PARAMS.model_copy(update={section: getattr(PARAMS, section).model_copy(update=change)})
    before, after = keys(ROOT, backbone), keys(ROOT, backbone, other)
    assert {kind for kind in ALL if before[kind] != after[kind]} == changed
