"""Drift over the embeddings of a real ViT, with random weights: streets at night are seen, other streets are not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from cascade.inbox.store import CONTROL, save
from tasks.common.files import sha256, sha256_file, write_json
from tasks.config.monitoring import DriftParams
from tasks.monitoring.drift import drift
from tasks.monitoring.embedding import embed, embedding_space
from tasks.monitoring.figures import MonitoredFigure
from tests.support import tiny_dino
from tests.support.drawn import encode, street

pytestmark = [pytest.mark.integration, pytest.mark.slow]
RULES = DriftParams(reference=30, window=20, permutations=299, block=2, level=0.02, breaches=1, shown=3)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a backbone and of a head, as the pipeline leaves them."""
    from tasks.classifier.head import HeadShape, make_head, save_head

    root = tmp_path_factory.mktemp("models")
    backbone, head = tiny_dino.write_backbone(root / "backbone"), root / "head"
    files = {name: sha256_file(backbone / name) for name in ("config.json", "model.safetensors")}
    write_json(backbone / "manifest.json", {"files": files})
    # two layers of 32: class token, mean and maximum
    shape = HeadShape("linear", 192, 64, 0)
    save_head(make_head(shape), head)
    document = {"layers": [1, 2], "size": tiny_dino.SIZE, "pooling": "statistics", "calibration": {"a": 1.0, "b": 0.0}}
    write_json(head / "head.json", {**shape.as_document(), **document})
    return backbone, head


def answered(inbox: Path, seeds: Iterable[int], light: float = 1.0) -> None:
    for seed in seeds:
        image: Image.Image = ImageEnhance.Brightness(street(seed, cones=seed % 2 * 3)[0]).enhance(light)
        data = encode(image, quality=90)
        save(inbox, CONTROL, data, {"probability": 0.5, "release": "r1", "decided_by": "vlm", "label": "clear"})
        os.utime(inbox / CONTROL / f"{sha256(data)}.json", (seed, seed))


def test_night_is_seen_and_other_streets_are_not(models: tuple[Path, Path], tmp_path: Path) -> None:
    backbone, head = models
    space = embedding_space(backbone, head)
    embedder = partial(embed, backbone=backbone, head=head)

    def run(day: str) -> MonitoredFigure:
        return drift(RULES, tmp_path / "inbox", "r1", day, embed=embedder, space=space, state=tmp_path / "state")

    answered(tmp_path / "inbox", range(50))
    assert run("2026-11-20").value == 0
    answered(tmp_path / "inbox", range(100, 120), light=0.3)
    dark = run("2026-11-21")
    assert (dark.value, dark.is_passed) == (1, True)
    # probabilities and exits did not move: the embeddings alone tell
    assert "confidence 0 (p 1), exits 0 (p 1)" in dark.note


def test_the_space_is_named_by_weights_and_use(models: tuple[Path, Path], tmp_path: Path) -> None:
    from tasks.common.files import read_json

    backbone, head = models
    other = read_json(head / "head.json") | {"layers": [2]}
    write_json(tmp_path / "head.json", other)
    assert embedding_space(backbone, head) == embedding_space(backbone, head)
    assert embedding_space(backbone, head) != embedding_space(backbone, tmp_path)
