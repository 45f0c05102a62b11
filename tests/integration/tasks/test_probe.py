"""The probe on real features of drawn streets: what it says of a picture is what the exported way would say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cascade.preprocess.image import decode
from cascade.preprocess.pixels import to_input
from tasks.classifier.embedding import embed, embed_new
from tasks.classifier.scorer import Scorer, token_statistics
from tasks.data.feature_store import load_split
from tasks.data.schema import read_records
from tasks.probe import probe
from tasks.train import train
from tests.integration.tasks.conftest import Workplace

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def root(workplace: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the pulled data, and a probe."""
    root, params = tmp_path_factory.mktemp("probe"), workplace.params
    embed(params.embed, workplace.pulled, workplace.backbone, root / "features", root / "embed.json")
    probe(params.train, root / "features", root / "probe", root / "reports", prior=params.prior)
    return root


def test_scorer_sees_what_the_stored_features_hold(root: Path, workplace: Workplace) -> None:
    scorer = Scorer(workplace.backbone, root / "probe")
    rows = list(read_records(workplace.pulled / "pool.parquet"))
    images = [decode(row["image"]["bytes"], max_pixels=1 << 40, min_side=1) for row in rows]
    probability, vector = scorer.score(np.stack([to_input(image, scorer.size) for image in images]))
    stored = load_split(root / "features", "pool").x[:, 0]
    assert probability.shape == (len(rows),)
    assert ((probability >= 0) & (probability <= 1)).all()
    expected = token_statistics(stored, 768).numpy()
    assert vector.shape == expected.shape
    # view 0 went over the wire as a JPEG, which `to_input` alone does not do
    cosine = (vector * expected).sum(1) / np.linalg.norm(vector, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.95


def test_new_pictures_are_trained_on(root: Path, workplace: Workplace, tmp_path: Path) -> None:
    params = workplace.params
    new = tmp_path / "new.parquet"
    shutil.copy(workplace.pulled / "pool.parquet", new)
    embed_new(params.embed, (new,), workplace.backbone, tmp_path / "features", tmp_path / "embed.json")
    added = load_split(tmp_path / "features", "train")
    assert len(added.sha256) == len(list(read_records(new)))
    short = params.train.model_copy(update={"epochs": 1})
    train(short, root / "features", tmp_path / "without", tmp_path / "r1", prior=None)
    train(short, root / "features", tmp_path / "with", tmp_path / "r2", prior=None, more=tmp_path / "features")
    weights = [(tmp_path / name / "head.safetensors").read_bytes() for name in ("without", "with")]
    assert weights[0] != weights[1]
