"""The steps' own way to an engine: limits and batches from params, labels to MCC, and both kinds of model loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cascade.engines.boxes import BoxNetwork
from cascade.engines.classifier import load_engine
from tasks.config import ExportParams, load_params
from tasks.optimize import tensorrt_engines as steps
from tasks.optimize.calibration_images import CalibrationImages
from tasks.optimize.onnx_run import open_graph
from tasks.optimize.tensorrt_engines import prove_detector
from tests.support import tiny_attention, tiny_detector
from tests.support.fake_tensorrt import run_on_a_double
from tests.support.paths import ROOT

ALL = load_params(ROOT / "params.yaml")
PARAMS = ExportParams.model_validate(
    {
        "engine": "tensorrt", "precision": "fp16", "parity_images": 4, "max_probability_gap": 0.02, "threads": 1,
        "batch": {"minimum": 1, "optimum": 2, "maximum": 4},
    }
)  # fmt: skip


@pytest.fixture(autouse=True)
def on_a_double(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    run_on_a_double(monkeypatch)


def test_the_classifiers_engine_is_judged_by_mcc_and_loaded_by_its_kind(tmp_path: Path) -> None:
    source, pixels = tiny_attention.write(tmp_path / "classifier"), tiny_attention.pictures()
    answer = open_graph(onnx.load(source))
    pictures = CalibrationImages(pixels, np.array([1, 0, 1, 0, 1, 0]), None)
    report = steps.compile_classifier(source.parent, PARAMS, "fp16", pictures, lambda batch: answer(batch)["logit"])
    assert report["metric"]["name"] == "mcc"
    assert report["key"]["batches"] == [1, 2, 4]
    engine = load_engine(source.parent, "tensorrt", "fp16", 1)
    assert (engine.name, engine.precision) == ("tensorrt", "fp16")
    assert np.median(engine.run(pixels[:4])) == pytest.approx(float(np.median(answer(pixels[:4])["logit"])), abs=0.05)


def test_a_detectors_engine_gives_corners_and_scores(tmp_path: Path) -> None:
    import torch

    folder = tiny_detector.write_detector(tmp_path / "yolo", "yolo")
    squares = np.random.default_rng(0).integers(0, 256, (3, tiny_detector.SIZE, tiny_detector.SIZE, 3), dtype=np.uint8)
    answer = open_graph(onnx.load(folder / "detector.onnx"))

    def detector(pixels: torch.Tensor) -> Any:
        found = answer(pixels.numpy())
        return torch.from_numpy(found["corners"]), torch.from_numpy(found["scores"])

    own = ALL.detect.model_copy(update={"max_batch": 2, "max_corner_gap": 0.01, "max_score_gap": 0.02})
    params = ALL.model_copy(update={"detect": own, "export": PARAMS})
    report = prove_detector(steps.export_engine, detector, folder, params, "fp32", squares)
    assert report["parity"]["corner_gap"] < 1e-5
    corners, scores = BoxNetwork(folder / "detector.onnx", "tensorrt", 1).run(squares[:2])
    assert np.allclose(corners, answer(squares[:2])["corners"])
    assert np.allclose(scores, answer(squares[:2])["scores"])
