"""The step `detect` with the real libraries, on drawn streets and networks small enough for seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.engines import select
from cascade.stages.detectors import DetectorsStage
from tasks.common.files import read_json
from tasks.config import DetectParams, Params, load_params
from tasks.data.schema import DataError
from tasks.detect import main
from tasks.detection.detect import NAMES, detect, measure_on
from tasks.detection.paths import DetectPaths
from tests.support.drawn import dataset, street, write_sample
from tests.support.fake_cuda import run_on_a_double as run_cuda_on_a_double
from tests.support.fake_tensorrt import run_on_a_double
from tests.support.paths import ROOT
from tests.support.training import stopped_after

pytestmark = pytest.mark.integration
PER_SPLIT = {"train": 8, "calibration": 8, "pool": 2, "challenge": 4}


PARAMS = load_params(ROOT / "params.yaml")
ON_CARD = PARAMS.memory.model_copy(update={"gpu_gib": 1})


def whole(**changes: Any) -> Params:
    """All parameters, with the section of `tiny`."""
    return PARAMS.model_copy(update={"detect": tiny(**changes)})


def tiny(**changes: Any) -> DetectParams:
    """The project's parameters, at sizes that train in a second."""
    params = PARAMS.detect
    yolo = params.yolo.model_copy(update={"scale": "n", "size": 64, "steps": 3, "batch_size": 4})
    small = {"repo": None, "size": 56, "layers": 3, "width": 32, "queries": 8, "groups": 2, "decoder_layers": 1}
    detr = params.detr.model_copy(update={**small, "draws": 1, "steps": 4, "batch_size": 4})
    given = {"mode": "train", "start": "random", "yolo": yolo, "detr": detr, "engine": "onnxruntime", "threads": 1}
    return params.model_copy(update={**given, **changes})


@pytest.fixture(scope="module")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 of three thin layers with random weights."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(1)
    config = Dinov2Config(hidden_size=48, num_hidden_layers=3, num_attention_heads=3, image_size=70, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)
    return folder


def paths_in(folder: Path, backbone: Path) -> DetectPaths:
    return DetectPaths(
        backbone=backbone,
        pulled=write_sample(folder / "pulled", dataset(PER_SPLIT)),
        shipped=folder / "shipped",
        work=folder / "work",
        detectors=folder / "detectors",
        reports=folder / "reports",
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path) -> DetectPaths:
    """Both detectors, trained for some steps, exported and shipped."""
    paths = paths_in(tmp_path_factory.mktemp("trained"), tiny_backbone)
    detect(whole(), paths, ship=True)
    return paths


def test_trains_exports_and_reports_both(trained: DetectPaths) -> None:
    for name in NAMES:
        assert {path.name for path in (trained.detectors / name).iterdir()} == {"detector.onnx", "contract.json"}
        manifest = read_json(trained.shipped / name / "manifest.json")
        assert (manifest["start"], manifest["pictures"]) == ("random", 8)
    metrics = read_json(trained.reports / "metrics.json")
    assert metrics["views"] == PER_SPLIT["calibration"]
    assert {"map50", "map50_95"} <= metrics["yolo"]["cone"].keys()
    assert 0 <= metrics["alone"]["accuracy"] <= 1
    assert set(metrics["model"]["detr"]["parity"]) == {"openvino", "onnxruntime"}
    assert (trained.reports / "plots" / "boxes.jpg").stat().st_size > 10_000
    for name in NAMES:
        weights = metrics["model"][name]["weights"]
        assert weights["views"] == PER_SPLIT["calibration"]
        assert "that of the raw weights" in weights["sentence"]
        assert read_json(trained.shipped / name / "manifest.json")["weights"] == weights


def test_the_stage_runs_what_the_step_wrote(trained: DetectPaths) -> None:
    stage = DetectorsStage(trained.detectors)
    stage.load()
    results = stage.predict([street(1, 4)[0], street(2)[0]], [0.5, 0.5])
    assert [verdict.stage for verdict in results] == ["detectors", "detectors"]
    assert all(verdict.probability is not None for verdict in results)


def test_shipped_weights_give_the_same_detectors_and_fine_tuning_begins_with_them(
    trained: DetectPaths, tmp_path: Path
) -> None:
    import torch

    from tasks.detection.training import train_detector
    from tasks.detection.weights import build, read_weights

    first = build("yolo", tiny(), trained.backbone)
    manifest = read_weights(first, trained.shipped / "yolo")
    again = build("yolo", tiny(seed=9), trained.backbone)
    elsewhere = DetectPaths(**{**trained.__dict__, "work": tmp_path})
    rate = tiny().yolo.model_copy(update={"learning_rate": 1e-12, "steps": 1})
    train_detector("yolo", again, tiny(start="shipped", yolo=rate), PARAMS.training, elsewhere)
    pixels = torch.randint(0, 255, (1, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        for one, two in zip(first.eval()(pixels), again.eval()(pixels), strict=True):
            # running statistics move a little in the one step
            assert torch.allclose(one, two, atol=0.05)
    assert manifest["detector"] == "yolo"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_with_tensorrt_the_rule_is_fitted_on_its_engines(
    precision: str, trained: DetectPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on_a_double(monkeypatch)
    monkeypatch.setitem(select.OBSTACLES, "tensorrt", lambda _: None)
    export = PARAMS.export
    # random weights at 64 px: whether FP16 holds a parity limit is no property of them
    loose = export.tensorrt.model_copy(update={"min_cosine": 0.9})
    paths = replace(trained, detectors=tmp_path / "detectors", reports=tmp_path / "reports")
    monkeypatch.chdir(tmp_path)
    asked = export.model_copy(update={"precision": precision, "tensorrt": loose})
    given = whole(mode="shipped", engine="tensorrt", max_score_gap=0.2, max_corner_gap=0.2)
    detect(given.model_copy(update={"export": asked, "memory": ON_CARD}), paths)
    for name in NAMES:
        assert (paths.detectors / name / "detector.engine.json").is_file()
        proven = read_json(paths.reports / "metrics.json")["model"][name]["tensorrt"]
        assert (proven["half_layers"]["share"] > 0.5) == (precision == "fp16")
    stage = DetectorsStage(paths.detectors)
    stage.load()
    assert stage.settings.engine == "tensorrt"
    (answer,) = stage.predict([street(5, cones=4)[0]])
    assert 0 <= answer.probability <= 1
    stage.unload()


@pytest.mark.slow
def test_on_a_gpu_without_tensorrt_auto_takes_cuda_graphs(
    trained: DetectPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = run_cuda_on_a_double(monkeypatch)
    monkeypatch.setitem(select.OBSTACLES, "tensorrt", lambda _: "not installed")
    monkeypatch.setitem(select.OBSTACLES, "torch_cuda", lambda _: None)
    loose = PARAMS.export.tensorrt.model_copy(update={"min_cosine": 0.9})
    paths = replace(trained, detectors=tmp_path / "detectors", reports=tmp_path / "reports")
    # YOLO in fp16, which has to hold its mAP; the double is slow in it
    precision = PARAMS.detect.precision.model_copy(
        update={"yolo": "fp16", "detr": "fp32", "max_map_drop": 0.99, "metric_images": 2}
    )
    given = whole(
        mode="shipped", engine="auto", max_score_gap=0.2, max_corner_gap=0.2, max_batch=2, precision=precision
    )
    asked = PARAMS.export.model_copy(update={"tensorrt": loose})
    detect(given.model_copy(update={"export": asked, "memory": ON_CARD}), paths)
    model = read_json(paths.reports / "metrics.json")["model"]
    assert model["yolo"]["torch_cuda"]["graph"]["half_share"]["operations"] > 0.5
    assert model["yolo"]["precision"]["kept"]
    assert "torch_cuda" not in model["detr"]
    stage = DetectorsStage(paths.detectors)
    assert (stage.settings.engine, stage.device) == ("torch_cuda", "cuda")
    stage.load()
    assert stage.precision == "fp16 and fp32"
    assert double.graphs
    (answer,) = stage.predict([street(5, cones=4)[0]])
    assert 0 <= answer.probability <= 1
    stage.unload()


def test_measures_on_another_split_without_writing(trained: DetectPaths) -> None:
    before = (trained.reports / "metrics.json").read_bytes()
    report = measure_on("challenge", tiny(), trained, prior=None)
    assert (report["split"], report["views"]) == ("challenge", 4 * PER_SPLIT["challenge"])
    assert (trained.reports / "metrics.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("on_processor")
def test_a_stopped_training_goes_on_to_the_same_weights(name: str, tiny_backbone: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from tasks.detection.training import train_detector
    from tasks.detection.weights import build

    ends = []
    for stop in (None, 2):
        paths = paths_in(tmp_path / f"stop-{stop}", tiny_backbone)
        if stop is not None:
            with stopped_after(stop):
                train_detector(name, build(name, tiny(), tiny_backbone), tiny(), PARAMS.training, paths)
        checkpoint = train_detector(name, build(name, tiny(), tiny_backbone), tiny(), PARAMS.training, paths)
        ends.append(load_file(checkpoint))
    assert ends[0].keys() == ends[1].keys()
    for key, tensor in ends[0].items():
        assert tensor.equal(ends[1][key]), key


@pytest.mark.slow
def test_an_export_that_differs_from_torch_is_refused(trained: DetectPaths, tmp_path: Path) -> None:
    import torch

    from tasks.detection.export import DetectorParityError, check_parity, write_detector
    from tasks.detection.weights import build, read_weights

    detector = build("yolo", tiny(), trained.backbone)
    read_weights(detector, trained.shipped / "yolo")
    with torch.no_grad():
        for branch in detector.net.model[-1].cv3:
            # so that boxes count at all
            branch[-1].bias.fill_(0.0)
    write_detector(detector.eval(), "yolo", tmp_path, tiny())
    squares = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    assert check_parity(detector, tmp_path, squares, tiny())["onnxruntime"]["score"] < 0.001
    with torch.no_grad():
        detector.net.model[-1].cv3[0][-1].bias.fill_(1.0)
    with pytest.raises(DetectorParityError, match=r"differs from torch.*previous detectors stay"):
        check_parity(detector, tmp_path, squares, tiny())


def test_a_failed_run_leaves_the_last_good_detectors(trained: DetectPaths) -> None:
    before = {path: path.read_bytes() for path in trained.detectors.rglob("*") if path.is_file()}
    gone = DetectPaths(**{**trained.__dict__, "shipped": trained.shipped / "nowhere"})
    with pytest.raises(DataError, match=r"manifest\.json: no such file; `detect\.mode: train`"):
        detect(whole(mode="shipped"), gone)
    assert {path: path.read_bytes() for path in trained.detectors.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        # another file than the manifest vouches for
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"x"), "its sha256 is not the manifest's"),
        # gone
        (lambda folder: (folder / "weights.safetensors").unlink(), "no such file"),
    ],
)
def test_weights_that_are_refused(trained: DetectPaths, tmp_path: Path, break_it: Any, words: str) -> None:
    import shutil

    from tasks.detection.weights import build, read_weights

    folder = shutil.copytree(trained.shipped / "yolo", tmp_path / "yolo")
    break_it(folder)
    with pytest.raises(DataError, match=words):
        read_weights(build("yolo", tiny(), trained.backbone), folder)


def test_weights_of_another_shape_are_refused(trained: DetectPaths) -> None:
    from tasks.detection.weights import build, read_weights

    wide = tiny().detr.model_copy(update={"width": 64})
    with pytest.raises(DataError, match="weights of another detector"):
        read_weights(build("detr", tiny(detr=wide), trained.backbone), trained.shipped / "detr")


def test_a_place_that_measures_is_never_trained_on(tiny_backbone: Path, tmp_path: Path) -> None:
    from tasks.detection.training import training_pictures

    rows = dataset(PER_SPLIT)
    mixed = [row if row.split != "challenge" else type(row)(**{**row.__dict__, "place": rows[0].place}) for row in rows]
    paths = paths_in(tmp_path, tiny_backbone)
    write_sample(paths.pulled, mixed)
    with pytest.raises(DataError, match="1 places are in train and in calibration or challenge, place-0"):
        training_pictures(tiny(), paths)


@pytest.mark.slow
def test_rt_detr_learns_and_exports(tmp_path: Path, tiny_backbone: Path) -> None:
    import torch

    from cascade.engines.boxes import BoxNetwork
    from tasks.detection.export import write_detector
    from tasks.detection.target import Target
    from tasks.detection.weights import build

    params = tiny().detr.model_copy(update={"family": "rt_detr", "size": 64, "queries": 10})
    detector = build("detr", tiny(detr=params), tiny_backbone).train()
    assert detector.frozen is None
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    pixels = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    pixels[:, 16:48, 16:48, 0] = 255
    target = Target(torch.tensor([0]), torch.tensor([[0.5, 0.5, 0.5, 0.5]]))
    losses = []
    for _ in range(12):
        loss = detector.loss(detector.prepare(pixels), [target, target])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses[-3:]) < losses[0]
    write_detector(detector.eval(), "detr", tmp_path, tiny())
    with torch.no_grad():
        _, reference = detector(pixels)
    for kind in ("onnxruntime", "openvino"):
        corners, scores = BoxNetwork(tmp_path / "detector.onnx", kind, 1).run(pixels.numpy())
        assert corners.shape == (2, 10, 4)
        # after so few steps queries are of nearly equal rank, and each library picks its own: their scores are compared
        assert np.allclose(np.sort(scores.ravel()), np.sort(reference.numpy().ravel()), atol=0.01)


@pytest.mark.slow
def test_a_pretrained_rf_detr_is_fine_tuned_to_our_classes_and_exported(tmp_path: Path, tiny_backbone: Path) -> None:
    import torch
    from transformers import RfDetrConfig, RfDetrForObjectDetection
    from transformers.models.rf_detr.configuration_rf_detr import RfDetrDinov2Config

    from cascade.engines.boxes import BoxNetwork
    from tasks.detection.export import write_detector
    from tasks.detection.target import Target
    from tasks.detection.weights import build

    # a checkpoint of 80 classes and of another picture size, as the Hub has them
    backbone = RfDetrDinov2Config(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=3, num_windows=2, patch_size=16, image_size=128,
        out_features=["stage2", "stage3"],
    )  # fmt: skip
    heads = {"decoder_self_attention_heads": 2, "decoder_cross_attention_heads": 2, "decoder_layers": 1}
    config = RfDetrConfig(backbone_config=backbone, d_model=32, num_labels=80, num_queries=4, group_detr=2, **heads)
    RfDetrForObjectDetection(config).save_pretrained(tmp_path / "hub")
    params = tiny().detr.model_copy(update={"repo": str(tmp_path / "hub"), "revision": "a" * 40, "size": 64})
    detector = build("detr", tiny(detr=params), tiny_backbone).train()
    pixels = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8)
    loss = detector.loss(
        detector.prepare(pixels), [Target(torch.tensor([6]), torch.tensor([[0.5, 0.5, 0.5, 0.5]]))] * 2
    )
    loss.backward()
    write_detector(detector.eval(), "detr", tmp_path / "detr", tiny())
    with torch.no_grad():
        _, reference = detector(pixels)
    corners, scores = BoxNetwork(tmp_path / "detr" / "detector.onnx", "onnxruntime", 1).run(pixels.numpy())
    assert (corners.shape, scores.shape) == ((2, 4, 4), (2, 4, 7))
    assert np.allclose(np.sort(scores.ravel()), np.sort(reference.numpy().ravel()), atol=0.01)


def test_the_command_line_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    assert "calibration.parquet: no such file" in capsys.readouterr().err
    assert main(["--on", "challenge"]) == 1
    assert "detectors.json: no such file" in capsys.readouterr().err
