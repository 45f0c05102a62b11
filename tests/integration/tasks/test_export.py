"""The export stage on a trained classifier: int8 only where it holds, and no broken artefact replaces a good one."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.engines import select
from cascade.engines.base import EngineError
from cascade.engines.classifier import load_engine
from cascade.release.build import build_release
from cascade.release.store import ReleaseError, load_release
from tasks.classifier.embedding import embed
from tasks.common.files import read_json
from tasks.config import ExportParams
from tasks.data.schema import DataError, split_file
from tasks.export import main
from tasks.optimize.calibration_images import calibration_images
from tasks.optimize.export import ExportInputs, ParityError, export
from tasks.train import train
from tests.integration.tasks.conftest import Workplace
from tests.support.drawn import row, write_parquet
from tests.support.fake_cuda import run_on_a_double as run_cuda_on_a_double
from tests.support.fake_tensorrt import run_on_a_double
from tests.support.paths import ROOT
from tests.support.tiny import write_metrics

pytestmark = [pytest.mark.integration, pytest.mark.slow]


# of two blocks, both are quantized
EXCLUDE = ("/patch/.*", "/head/.*")


@dataclass(frozen=True)
class Made:
    """A classifier in int8, its inputs, and the params that made it."""

    root: Path
    params: ExportParams
    inputs: ExportInputs

    @property
    def folder(self) -> Path:
        return self.root / "classifier"


@pytest.fixture(scope="module")
def made(workplace: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two blocks deep; limits wide enough for int8, so that it serves."""
    root, params = tmp_path_factory.mktemp("export"), workplace.params
    shallow = params.embed.model_copy(update={"layers": (2,), "views": 1})
    embed(shallow, workplace.pulled, workplace.backbone, root / "features", root / "embed.json")
    train(params.train, root / "features", root / "head", root / "reports" / "train", prior=params.prior)
    int8 = params.export.int8.model_copy(
        update={
            "images": 4,
            "metric_images": 8,
            "max_mcc_drop": 0.99,
            "max_probability_gap": 0.99,
            "exclude": (EXCLUDE,),
        }
    )
    wide = params.export.model_copy(update={"precision": "int8", "parity_images": 4, "int8": int8})
    inputs = ExportInputs(workplace.backbone, root / "head", workplace.pulled)
    export(wide, inputs, root / "classifier", root / "reports" / "metrics.json", prior=params.prior)
    return Made(root, wide, inputs)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_int8_that_holds_serves(made: Made) -> None:
    settings = read_json(made.folder / "classifier.json")
    assert (settings["engine"], settings["precision"]) == ("openvino", "int8")
    pictures = calibration_images(made.inputs.pulled, 4, 224, prior=None).pixels
    whole, small = (load_engine(made.folder, "openvino", kind, 1) for kind in ("fp32", "int8"))  # type: ignore[arg-type]
    assert small.precision == "int8"
    assert np.abs(whole.run(pictures) - small.run(pictures)).max() < 1.5
    sizes = {path.name: path.stat().st_size for path in made.folder.glob("*.onnx")}
    assert sizes["classifier_int8.onnx"] < 0.4 * sizes["classifier.onnx"]


def test_the_contract_states_least_best_and_most(made: Made) -> None:
    contract = read_json(made.folder / "contract.json")
    assert [contract[f"{name}_batch"] for name in ("min", "optimum", "max")] == [1, 4, 32]


def test_every_engine_is_in_the_report(made: Made) -> None:
    report = read_json(made.root / "reports" / "engines.json")
    found = {(one["engine"], one["precision"]): one for one in report["engines"]}
    assert {engine for engine, _ in found} == {"openvino", "onnxruntime", "torch"}
    assert found["openvino", "int8"]["note"] == "serves"
    assert all(one["milliseconds"] > 0 and one["images_per_second"] > 0 for one in found.values())
    table = (made.root / "reports" / "engines.md").read_text()
    assert table.count("\n| ") == 1 + len(found)
    assert "| openvino | int8 |" in table


def test_timings_stay_out_of_what_dvc_tracks(made: Made) -> None:
    tracked = (made.root / "reports" / "metrics.json").read_text() + str(content(made.folder))
    assert "milliseconds" not in tracked


def test_a_tensorrt_engine_serves_and_the_metrics_say_what_was_verified(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on_a_double(monkeypatch)
    monkeypatch.setitem(select.OBSTACLES, "tensorrt", lambda _: None)
    monkeypatch.chdir(tmp_path)
    asked = made.params.model_copy(update={"engine": "tensorrt", "precision": "fp16"})
    metrics = export(asked, made.inputs, tmp_path / "classifier", tmp_path / "metrics.json", prior=0.5)
    assert metrics["tensorrt"]["half_layers"]["share"] > 0.5
    assert metrics["tensorrt"]["metric"]["name"] == "mcc"
    settings = read_json(tmp_path / "classifier" / "classifier.json")
    assert (settings["engine"], settings["precision"]) == ("tensorrt", "fp16")
    assert (tmp_path / "classifier" / "classifier.engine.json").is_file()


@pytest.mark.parametrize("wanted", ["torch_cuda", "auto"])
def test_torch_on_a_gpu_serves_what_was_verified_there(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    run_cuda_on_a_double(monkeypatch)
    monkeypatch.setitem(select.OBSTACLES, "torch_cuda", lambda _: None)
    # the double computes on a processor, which takes minutes in fp16: tests/unit/tasks/optimize/test_cuda_engines.py
    batch = made.params.batch.model_copy(update={"optimum": 1, "maximum": 2, "graphs": (1, 2)})
    once = made.params.benchmark.model_copy(update={"batch": 2, "rounds": 1})
    asked = made.params.model_copy(update={"engine": wanted, "precision": "fp32", "batch": batch, "benchmark": once})
    metrics = export(asked, made.inputs, tmp_path / "classifier", tmp_path / "metrics.json", prior=0.5)
    verified = metrics["torch_cuda"]
    assert verified["metric"]["name"] == "mcc"
    assert verified["parity"]["probability_gap"] < 0.001
    assert metrics["parity"]["torch_cuda"]["precision"] == "fp32"
    assert metrics["parity"]["torch_cuda"]["max_probability_gap"] < 0.001
    settings = read_json(tmp_path / "classifier" / "classifier.json")
    assert (settings["engine"], settings["precision"]) == ("torch_cuda", "fp32")
    assert read_json(tmp_path / "classifier" / "contract.json")["graphs"] == [1, 2]
    rows = {one["engine"]: one for one in read_json(tmp_path / "engines.json")["engines"]}
    assert rows["torch_cuda"]["note"] == "serves"


def test_a_profile_that_may_use_no_gpu_gets_none(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(select.OBSTACLES, "torch_cuda", lambda _: None)
    asked = made.params.model_copy(update={"engine": "torch_cuda", "precision": "fp16"})
    with pytest.raises(EngineError, match=r"torch_cuda: memory\.gpu_gib is 0"):
        export(asked, made.inputs, tmp_path / "classifier", tmp_path / "metrics.json", prior=0.5, card=False)


def test_static_ranges_are_another_int8(made: Made, tmp_path: Path) -> None:
    static = made.params.model_copy(update={"int8": made.params.int8.model_copy(update={"activations": "static"})})
    metrics = export(static, made.inputs, tmp_path / "classifier", tmp_path / "metrics.json", prior=0.5)
    assert metrics["int8"]["accepted"]
    names = ("classifier.onnx", "classifier_int8.onnx")
    fixed, dynamic = (
        {name: (folder / name).read_bytes() for name in names} for folder in (tmp_path / "classifier", made.folder)
    )
    assert b"QuantizeLinear" in fixed[names[1]]
    assert b"QuantizeLinear" not in dynamic[names[1]]
    assert fixed[names[0]] == dynamic[names[0]]


def test_int8_that_does_not_hold_makes_way_for_bf16(made: Made, tmp_path: Path) -> None:
    strict = made.params.model_copy(update={"int8": made.params.int8.model_copy(update={"max_probability_gap": 1e-9})})
    metrics = export(strict, made.inputs, tmp_path / "classifier", tmp_path / "metrics.json", prior=0.5)
    assert read_json(tmp_path / "classifier" / "classifier.json")["precision"] == "bf16"
    assert not (tmp_path / "classifier" / "classifier_int8.onnx").exists()
    assert "exceeds int8.max_probability_gap" in metrics["int8"]["why"]
    assert "refused: |Δp|" in (tmp_path / "engines.md").read_text()


def corrupt_one_weight(path: Path) -> None:
    """Set one number of one matrix to something large."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    matrix = max((one for one in model.graph.initializer if len(one.dims) == 2), key=lambda one: int(np.prod(one.dims)))
    numbers = numpy_helper.to_array(matrix).copy()
    numbers[7, 7] = 1000.0
    matrix.CopyFrom(numpy_helper.from_array(numbers, matrix.name))
    onnx.save(model, path)


def test_one_wrong_weight_is_refused_by_parity(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tasks.classifier.model

    real = tasks.classifier.model.write_onnx

    def broken(model: Any, size: int, path: Path) -> None:
        real(model, size, path)
        corrupt_one_weight(path)

    shutil.copytree(made.folder, tmp_path / "classifier")
    before = content(tmp_path / "classifier")
    monkeypatch.setattr("tasks.classifier.model.write_onnx", broken)
    plain = made.params.model_copy(update={"precision": "bf16"})
    with pytest.raises(ParityError, match="differs from torch by"):
        export(plain, made.inputs, tmp_path / "classifier", tmp_path / "metrics.json", prior=0.5)
    assert content(tmp_path / "classifier") == before


@pytest.mark.parametrize("name", ["classifier.onnx", "classifier_int8.onnx"])
def test_one_wrong_weight_is_refused_by_the_releases_digest(made: Made, tmp_path: Path, name: str) -> None:
    revision = {"data": "d" * 64, "code": "c" * 40}
    report = write_metrics(tmp_path / "metrics.json")
    release = build_release(made.folder, report, tmp_path / "releases", revision=revision)
    assert release.manifest.engine.precision == "int8"
    path = release.folder / name
    if name == "classifier.onnx":
        corrupt_one_weight(path)
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(ReleaseError, match=f"{name}: altered: its digest is not the manifest's"):
        load_release(release.folder)


def test_a_broken_calibration_picture_is_named(made: Made, tmp_path: Path) -> None:
    good, bad = row(1, 1, "calibration"), row(2, 0, "calibration", data=b"\xff\xd8 not a picture")
    write_parquet(split_file(tmp_path / "pulled", "calibration"), [good.to_record(), bad.to_record()])
    inputs = ExportInputs(made.inputs.backbone, made.inputs.head, tmp_path / "pulled")
    with pytest.raises(DataError, match=f"picture {bad.sha256[:12]} cannot be read"):
        export(made.params, inputs, tmp_path / "classifier", tmp_path / "metrics.json", prior=0.5)
    assert not (tmp_path / "classifier").exists()


def test_a_full_disk_leaves_the_previous_classifier(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made.folder, tmp_path / "models" / "classifier")
    before = content(tmp_path / "models" / "classifier")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tasks.common.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        export(made.params, made.inputs, tmp_path / "models" / "classifier", tmp_path / "metrics.json", prior=0.5)
    assert content(tmp_path / "models" / "classifier") == before
    monkeypatch.setattr("tasks.export.export", lambda *_, **__: full(0))
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    assert capsys.readouterr().err.endswith("export: [Errno 28] No space left on device\n")


def test_reports_are_plain_json(made: Made) -> None:
    for name in ("metrics.json", "engines.json"):
        assert json.loads((made.root / "reports" / name).read_text())
