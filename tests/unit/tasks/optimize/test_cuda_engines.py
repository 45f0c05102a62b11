"""The steps' way to CUDA graphs: the graph in fp16, what it is held against on the card, and how it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cascade.engines.base import EngineError
from cascade.engines.boxes import BoxNetwork
from cascade.engines.classifier import load_engine
from tasks.config import ExportParams, load_params
from tasks.optimize import cuda_engines as steps
from tasks.optimize.calibration_images import CalibrationImages
from tasks.optimize.half import HalfError
from tasks.optimize.onnx_run import open_graph
from tasks.optimize.tensorrt_engines import prove_detector
from tasks.optimize.verify import VerificationError
from tests.support import tiny_attention, tiny_detector
from tests.support.fake_cuda import FakeCuda, run_on_a_double
from tests.support.paths import ROOT

ALL = load_params(ROOT / "params.yaml")
PARAMS = ExportParams.model_validate(
    {
        "engine": "torch_cuda", "precision": "fp16", "parity_images": 4, "max_probability_gap": 0.02, "threads": 1,
        "batch": {"minimum": 1, "optimum": 2, "maximum": 4},
    }
)  # fmt: skip
PIXELS = tiny_attention.pictures()
PICTURES = CalibrationImages(PIXELS, np.array([1, 0, 1, 0, 1, 0]), None)


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return run_on_a_double(monkeypatch)


def write(source: Path, params: ExportParams = PARAMS, precision: Any = "fp16", **reference: float) -> dict[str, Any]:
    """Verify the engine of a graph against that graph, or against another one."""
    answer = open_graph(tiny_attention.graph(**reference) if reference else onnx.load(source))
    return steps.write_classifier(source.parent, params, precision, PICTURES, lambda batch: answer(batch)["logit"])


def test_the_classifier_is_held_against_torch_and_loaded_by_its_kind(double: FakeCuda, tmp_path: Path) -> None:
    source = tiny_attention.write(tmp_path / "classifier")
    report = write(source)
    assert report["metric"]["name"] == "mcc"
    assert report["graph"]["half_share"]["operations"] > 0.5
    assert 0 < report["parity"]["probability_gap"] < 0.02
    # single images, and as many as a call may have; the session is closed again
    assert len(double.graphs) == 2
    assert double.calls == ["empty_cache"]
    engine = load_engine(source.parent, "torch_cuda", "fp16", 1)
    assert (engine.name, engine.precision) == ("torch_cuda", "fp16")
    wanted = open_graph(onnx.load(source))(PIXELS[:4])["logit"]
    assert np.median(engine.run(PIXELS[:4])) == pytest.approx(float(np.median(wanted)), abs=0.05)


def test_in_fp32_no_graph_is_made(double: FakeCuda, tmp_path: Path) -> None:
    source = tiny_attention.write(tmp_path / "classifier")
    report = write(source, precision="fp32")
    assert (report["graph"], len(double.graphs)) == ({}, 2)
    assert report["parity"]["probability_gap"] < 1e-5
    assert not (source.parent / "classifier.fp16.onnx").exists()


def test_an_engine_that_answers_otherwise_on_the_card_is_not_kept(
    double: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_attention.write(tmp_path / "classifier")
    # a kernel of the card that is wrong: the graph itself was found to be near enough
    monkeypatch.setattr(steps, "run_all", lambda run, images, _: {"logit": -run(images)["logit"]})
    with pytest.raises(VerificationError, match=r"classifier\.fp16\.onnx \(fp16\) in torch on cpu is not as good"):
        write(source)
    assert not (source.parent / "classifier.fp16.onnx").exists()
    assert source.is_file()


def test_a_graph_that_fp16_ruins_is_refused_before_the_card_is_asked(double: FakeCuda, tmp_path: Path) -> None:
    source = tiny_attention.write(tmp_path / "classifier")
    strict = PARAMS.model_copy(update={"max_probability_gap": 1e-9})
    with pytest.raises(HalfError, match="no FP16 graph is near enough"):
        write(source, strict)
    assert double.graphs == []


def test_without_a_card_it_is_an_error(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(EngineError, match="torch sees none"):
        write(tiny_attention.write(tmp_path / "classifier"), precision="fp32")


@pytest.mark.usefixtures("double")
def test_a_detector_gives_corners_and_scores(tmp_path: Path) -> None:
    import torch

    folder = tiny_detector.write_detector(tmp_path / "yolo", "yolo")
    squares = np.random.default_rng(0).integers(0, 256, (3, tiny_detector.SIZE, tiny_detector.SIZE, 3), dtype=np.uint8)
    answer = open_graph(onnx.load(folder / "detector.onnx"))

    def detector(pixels: torch.Tensor) -> Any:
        found = answer(pixels.numpy())
        return torch.from_numpy(found["corners"]), torch.from_numpy(found["scores"])

    own = ALL.detect.model_copy(update={"max_batch": 2, "max_corner_gap": 0.01, "max_score_gap": 0.02})
    params = ALL.model_copy(update={"detect": own, "export": PARAMS})
    report = prove_detector(steps.verify_on_card, detector, folder, params, "fp16", squares)
    assert report["parity"]["corner_gap"] < 0.01
    network = BoxNetwork(folder / "detector.onnx", "torch_cuda", 1, "fp16", (1, 2))
    assert (network.precision, network.device) == ("fp16", "cpu")
    corners, scores = network.run(squares)
    assert np.abs(scores - answer(squares)["scores"]).max() < 0.01
    assert corners.shape == answer(squares)["corners"].shape
