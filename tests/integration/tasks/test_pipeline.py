"""Train, export and validate on real features of drawn streets: one run feeds all tests here."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cascade.engines.classifier import load_engine
from cascade.evaluate.scores import classification_scores
from cascade.preprocess.image import decode
from cascade.stages.classifier import ClassifierStage
from tasks.classifier.embedding import embed
from tasks.common.files import read_json
from tasks.config import Params
from tasks.data.schema import DataError, read_records, split_file
from tasks.data.views import level_views, make_view
from tasks.optimize.calibration_images import calibration_images
from tasks.optimize.export import ExportInputs, ParityError, export
from tasks.train import train
from tasks.validate import validate
from tests.integration.tasks.conftest import Workplace

pytestmark = pytest.mark.integration
PLOTS = {"precision_recall.png", "reliability.png", "confusion.png", "risk_coverage.png"}


@dataclass(frozen=True)
class Run:
    """What a run left."""

    root: Path
    params: Params
    inputs: ExportInputs

    @property
    def classifier(self) -> Path:
        return self.root / "classifier"


@pytest.fixture(scope="module")
def run(workplace: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Run:
    root, params = tmp_path_factory.mktemp("run"), workplace.params
    embed(params.embed, workplace.pulled, workplace.backbone, root / "features", root / "embed.json")
    train(params.train, root / "features", root / "head", root / "reports" / "train", prior=params.prior)
    inputs = ExportInputs(workplace.backbone, root / "head", workplace.pulled)
    export(params.export, inputs, root / "classifier", root / "export.json", prior=params.prior)
    validate(params.validate_, root / "classifier", workplace.pulled, root / "reports" / "validate", prior=params.prior)
    return Run(root, params, inputs)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_cones_are_learned(run: Run) -> None:
    found = read_json(run.root / "reports" / "validate" / "metrics.json")
    assert found["level"]["0"]["accuracy"] >= 0.75
    assert found["auc"] > 0.8
    assert found["n"] == 8 * 4
    assert found["slice"]["time"]["noon"]["n"] == 16


@pytest.mark.parametrize("stage", ["train", "validate"])
def test_plots_and_numbers_are_there(run: Run, stage: str) -> None:
    folder = run.root / "reports" / stage
    assert {path.name for path in (folder / "plots").iterdir()} == PLOTS
    assert isinstance(json.loads((folder / "metrics.json").read_text())["mcc"], float)


@pytest.mark.slow
def test_training_again_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    train(run.params.train, run.root / "features", tmp_path / "head", tmp_path / "train", prior=run.params.prior)
    assert content(tmp_path / "head") == content(run.root / "head")
    assert content(tmp_path / "train") == content(run.root / "reports" / "train")


@pytest.mark.slow
def test_exporting_and_validating_again_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    export(run.params.export, run.inputs, tmp_path / "classifier", tmp_path / "export.json", prior=run.params.prior)
    assert content(tmp_path / "classifier") == content(run.classifier)
    validate(
        run.params.validate_, tmp_path / "classifier", run.inputs.pulled, tmp_path / "validate", prior=run.params.prior
    )
    assert content(tmp_path / "validate") == content(run.root / "reports" / "validate")


def test_exits_reach_the_runtime(run: Run) -> None:
    head, classifier = read_json(run.root / "head" / "head.json"), read_json(run.classifier / "classifier.json")
    assert classifier["exits"] == head["exits"]
    # a few dozen views cannot bound a risk of 2 %: the starting point stays, and says so
    assert head["exits"] == {"high": 0.88, "low": 0.12}
    assert not head["exit_fit"]["high"]["certified"]


def test_the_runtime_answers_as_was_validated(run: Run) -> None:
    classifier, challenge = read_json(run.classifier / "classifier.json"), split_file(run.inputs.pulled, "challenge")
    assert classifier["tta_band"] == {"high": 0.8, "low": 0.2}
    assert classifier["tta_views"] == ["shifted"]
    stage, p, label, count = ClassifierStage(run.classifier), [], [], []
    stage.load()
    for row in read_records(challenge):
        image = decode(row["image"]["bytes"], max_pixels=1 << 30, min_side=1)
        views = [
            make_view(image, view, key=row["sha256"], seed=run.params.validate_.seed, size=224)[0]
            for view in level_views(run.params.validate_.views)
        ]
        found = stage.predict([Image.fromarray(view) for view in views])
        p += [one.probability for one in found]
        count += [one.detail.get("views", 1) for one in found]
        label += [row["label"]] * len(found)
    stage.unload()
    report = read_json(run.root / "reports" / "validate" / "metrics.json")
    assert classification_scores(np.array(label), np.array(p), prior=run.params.prior)["brier"] == pytest.approx(
        report["brier"], abs=1e-3
    )
    assert np.mean(np.array(count) == 2) == pytest.approx(report["tta"]["share"], abs=0.05)
    assert set(count) == {1, 2}


@pytest.mark.slow
def test_without_tta_no_view_is_augmented(run: Run, tmp_path: Path) -> None:
    once = run.params.train.model_copy(update={"tta_band": None})
    train(once, run.root / "features", tmp_path / "head", tmp_path / "reports", prior=run.params.prior)
    plain, augmented = (read_json(folder / "head" / "head.json") for folder in (tmp_path, run.root))
    assert plain["tta_band"] is None
    # the scaling is fitted on what is served, so without augmented views it is another one
    assert plain["calibration"] != augmented["calibration"]


@pytest.mark.parametrize(
    ("kind", "precision"), [("openvino", "fp32"), ("openvino", "bf16"), ("onnxruntime", "fp32"), ("torch", "fp32")]
)
@pytest.mark.parametrize("batch", [1, 3, 5])
def test_engines_agree_with_torch_at_any_batch(run: Run, kind: str, precision: str, batch: int) -> None:
    import torch

    from tasks.classifier.model import Classifier

    model = Classifier(run.inputs.backbone, run.inputs.head, read_json(run.inputs.head / "head.json"))
    pictures = calibration_images(run.inputs.pulled, batch, 224, prior=None).pixels
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(pictures)).numpy()
    engine = load_engine(run.classifier, kind, precision, 1)  # type: ignore[arg-type]
    try:
        found = engine.run(pictures)
    finally:
        engine.close()
    assert found.shape == (batch,)
    assert np.abs(found - expected).max() < (1e-3 if engine.precision == "fp32" else 0.2)


@pytest.mark.slow
def test_gap_beyond_the_limit_fails_and_leaves_the_old_classifier(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.classifier, tmp_path / "classifier")
    before = content(tmp_path / "classifier")
    strict = run.params.export.model_copy(update={"max_probability_gap": 1e-12})
    with pytest.raises(ParityError, match=r"openvino .* differs from torch by .*max_probability_gap allows 1e-12"):
        export(strict, run.inputs, tmp_path / "classifier", tmp_path / "export.json", prior=run.params.prior)
    assert content(tmp_path / "classifier") == before
    assert not (tmp_path / "export.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["classifier"]


@pytest.mark.slow
def test_wrong_graph_is_caught_by_parity(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tasks.classifier.model

    real = tasks.classifier.model.write_onnx

    def broken(model: Any, size: int, path: Path) -> None:
        # as if the mean had been forgotten when normalisation was folded
        model.patch.bias.data.zero_()
        real(model, size, path)

    monkeypatch.setattr("tasks.classifier.model.write_onnx", broken)
    with pytest.raises(ParityError):
        export(run.params.export, run.inputs, tmp_path / "classifier", tmp_path / "export.json", prior=run.params.prior)
    assert not (tmp_path / "classifier").exists()


def test_head_of_another_backbone_is_refused(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.inputs.head, tmp_path / "head")
    document = {**read_json(tmp_path / "head" / "head.json"), "width": 768}
    (tmp_path / "head" / "head.json").write_text(json.dumps(document))
    inputs = ExportInputs(run.inputs.backbone, tmp_path / "head", run.inputs.pulled)
    with pytest.raises(ValueError, match="768 features, the backbone gives 197376"):
        export(run.params.export, inputs, tmp_path / "classifier", tmp_path / "export.json", prior=run.params.prior)


def test_training_goes_on_with_the_head_of_the_adapted_backbone(run: Run, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    careful = run.params.train.model_copy(update={"start": "adapted", "learning_rate": 1e-6, "epochs": 1})
    # where `tasks.adapt` leaves it
    shutil.copytree(run.root / "head", tmp_path / "adapted")
    train(
        careful,
        run.root / "features",
        tmp_path / "head",
        tmp_path / "reports",
        prior=run.params.prior,
        adapted=tmp_path / "adapted",
    )
    start, end = (load_file(tmp_path / name / "head.safetensors") for name in ("adapted", "head"))
    assert any((start[name] != end[name]).any() for name in start)
    # spread and mean as well: the weights were made for them
    assert all(abs(start[name] - end[name]).max() < 1e-3 for name in start)


@pytest.mark.parametrize(
    ("hidden", "head", "message"),
    [
        (64, None, r"head\.safetensors: no such file; `dvc repro adapt` writes it, or set train\.start to random"),
        (32, "head", r"head\.safetensors: of another shape than train\.head and train\.hidden ask for"),
    ],
)
def test_a_head_to_begin_with_that_does_not_fit_is_named(
    hidden: int, head: str | None, message: str, run: Run, tmp_path: Path
) -> None:
    adapted = run.root / head if head else tmp_path
    params = run.params.train.model_copy(update={"start": "adapted", "hidden": hidden})
    with pytest.raises(DataError, match=message):
        train(
            params,
            run.root / "features",
            tmp_path / "head",
            tmp_path / "reports",
            prior=run.params.prior,
            adapted=adapted,
        )
    assert not (tmp_path / "head").exists()


def test_missing_inputs_are_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro embed"):
        train(run.params.train, tmp_path / "none", tmp_path / "head", tmp_path / "reports", prior=None)
    with pytest.raises(DataError, match="dvc repro train"):
        export(
            run.params.export,
            replace(run.inputs, head=tmp_path),
            tmp_path / "classifier",
            tmp_path / "export.json",
            prior=run.params.prior,
        )
    with pytest.raises(DataError, match="dvc repro pull_data"):
        validate(run.params.validate_, run.classifier, tmp_path, tmp_path / "reports", prior=None)
