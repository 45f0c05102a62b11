"""Code that is edited gives new results, whatever is kept: the steps embed, adapt and detect run from a copy of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.classifier.weights import write_manifest
from tests.support.drawn import dataset, write_sample
from tests.support.paths import ROOT
from tests.support.project import edit
from tests.support.tiny_dino import SIZE, write_backbone

pytestmark = [pytest.mark.integration, pytest.mark.slow]
# trains and embeds in some seconds; prints a digest a result, and when the file with it was written
STEPS = f"""
import hashlib, json
from pathlib import Path

from tasks.adapt import adapt
from tasks.classifier.lora.paths import AdaptPaths
from tasks.config import load_params
from tasks.detection.paths import DetectPaths
from tasks.detection.training import train_detector
from tasks.detection.weights import build
from tasks.classifier.embedding import embed

params, pulled, backbone = load_params(), Path("pulled"), Path("backbone")
small = {{"layers": (2, 3), "size": {SIZE}, "views": 1, "pooling": "statistics"}}
embedding = params.embed.model_copy(update=small)
embed(embedding, pulled, backbone, Path("features"), Path("embed.json"))

short = {{"mode": "train", "rank": 2, "frozen_blocks": 1, "steps": 2, "batch_size": 4, "threads": 1, "scale_views": 4}}
sections = {{"adapt": params.adapt.model_copy(update=short), "embed": embedding}}
changes = AdaptPaths(backbone, pulled, Path("none"), Path("work"), Path("adapted"))
adapt(params.model_copy(update=sections), changes)

yolo = params.detect.yolo.model_copy(update={{"scale": "n", "size": 64, "steps": 2, "batch_size": 4}})
own = params.detect.model_copy(update={{"yolo": yolo, "threads": 1}})
paths = DetectPaths(backbone=backbone, pulled=pulled, work=Path("detect"))
checkpoint = train_detector("yolo", build("yolo", own, backbone), own, params.training, paths)

files = {{
    "features": sorted(Path("features/shards").iterdir()),
    "changes": [Path("adapted/model.safetensors")],
    "weights": [checkpoint],
}}
print(json.dumps({{
    name: [hashlib.sha256(b"".join(path.read_bytes()[-4096:] for path in found)).hexdigest(),
           max(path.stat().st_mtime_ns for path in found)]
    for name, found in files.items()
}}))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the code, with pictures and a backbone."""
    for name in ("cascade", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "blender"))
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    write_sample(tmp_path / "pulled", dataset({"train": 6, "calibration": 2, "pool": 2, "challenge": 2}))
    backbone = write_backbone(tmp_path / "backbone")
    (backbone / "preprocessor_config.json").write_text("{}")
    write_manifest(backbone, {"kind": "test"})
    return tmp_path


def run(project: Path) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, "-c", STEPS], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_an_edited_loss_trains_again_and_embeds_nothing_and_edited_views_are_embedded(project: Path) -> None:
    first = run(project)
    edit("tasks/classifier/losses.py", "2 * balance", "5 * balance")(project)
    edit("tasks/detection/yolo.py", "loss.sum() / len", "loss.sum() * 9 / len")(project)
    losses = run(project)
    assert losses["features"] == first["features"]
    assert losses["changes"][0] != first["changes"][0]
    assert losses["weights"][0] != first["weights"][0]
    edit("cascade/preprocess/tta.py", "HALF_PATCH = 7", "HALF_PATCH = 5")(project)
    views = run(project)
    assert views["features"][0] != losses["features"][0]
    # nothing changed: nothing is written but what `adapt` merges
    again = run(project)
    assert (again["features"], again["weights"]) == (views["features"], views["weights"])
    assert again["changes"][0] == views["changes"][0]
