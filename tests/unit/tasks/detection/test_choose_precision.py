"""Which precision a detector serves in: what loses too much goes back to fp32, and nothing of it stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cascade.engines.boxes import INT8_FILE, load_contract
from tasks.config import DetectParams, load_params
from tasks.detection import choose_precision as module
from tests.support.paths import ROOT
from tests.support.tiny_detector import write_detector


def params(wanted: str, engine: str = "openvino") -> DetectParams:
    """The project's, with YOLO in the precision that is asked for."""
    given = load_params(ROOT / "params.yaml").detect
    return given.model_copy(
        update={
            "engine": engine,
            "precision": given.precision.model_copy(update={"yolo": wanted, "max_map_drop": 0.01}),
        }
    )


@pytest.mark.parametrize(
    ("wanted", "engine", "maps", "serves"),
    [
        # nothing asked for: nothing is measured
        ("fp32", "openvino", [], "fp32"),
        # ONNX Runtime has no bf16, and a contract must not say that it ran in it
        ("bf16", "onnxruntime", [], "fp32"),
        # holds; better is no loss
        ("bf16", "openvino", [0.30, 0.291], "bf16"),
        ("bf16", "openvino", [0.30, 0.35], "bf16"),
        # loses too much
        ("bf16", "openvino", [0.30, 0.28], "fp32"),
        ("int8", "onnxruntime", [0.30, 0.16], "fp32"),
        ("int8", "openvino", [0.30, 0.30], "int8"),
        # on a card the graph in fp16 lies there already, and goes where it loses too much
        ("fp16", "torch_cuda", [0.30, 0.295], "fp16"),
        ("fp16", "torch_cuda", [0.30, 0.28], "fp32"),
        # another engine has no fp16, or in TensorRT's case its own
        ("fp16", "openvino", [], "fp32"),
        ("fp16", "tensorrt", [], "fp32"),
        ("int8", "torch_cuda", [], "fp32"),
    ],
)
def test_what_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, engine: str, maps: list[float], serves: str
) -> None:
    folder, measured = write_detector(tmp_path / "yolo", "yolo"), list[str]()
    half = folder / "detector.fp16.onnx"
    half.write_bytes(b"of the step before")

    def precision(where: Path, *_: Any) -> float:
        measured.append(load_contract(where).precision)
        return maps[len(measured) - 1]

    monkeypatch.setattr(module, "_precision", precision)
    monkeypatch.setattr(module, "quantize", lambda _model, _pixels, target, **_: target.write_bytes(b"int8"))
    monkeypatch.setattr(module.np, "stack", lambda squares: squares)
    found = module.choose_precision("yolo", folder, [], params(wanted, engine))
    assert load_contract(folder).precision == serves
    assert (folder / INT8_FILE).exists() == (serves == "int8")
    assert half.exists() == (serves == wanted or not maps)
    # fp32 first, then what was asked for
    assert measured == ["fp32", wanted][: len(maps)]
    assert found == {} or (found["kept"], found["wanted"]) == (serves == wanted, wanted)
