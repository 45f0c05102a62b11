"""Which engine a machine gets, and what is said about those it does not get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cascade.engines.base import EngineError
from cascade.engines.select import ORDER, choose_engine, no_tensorrt, no_torch_cuda

Obstacles = dict[str, Callable[[Path | None], str | None]]


def without(*missing: str) -> Obstacles:
    """A machine that lacks these."""
    return {kind: (lambda _, kind=kind: f"no {kind}" if kind in missing else None) for kind in ORDER}


@pytest.mark.parametrize(
    ("missing", "precision", "expected"),
    [
        # everything is there: the GPU, which knows half precision but not ours
        ((), "fp16", ("tensorrt", "fp16")),
        ((), "int8", ("tensorrt", "fp16")),
        ((), "bf16", ("tensorrt", "fp16")),
        ((), "fp32", ("tensorrt", "fp32")),
        # a GPU without TensorRT: torch's CUDA graphs, before any engine on the processor
        (("tensorrt",), "fp16", ("torch_cuda", "fp16")),
        (("tensorrt",), "int8", ("torch_cuda", "fp16")),
        (("tensorrt",), "bf16", ("torch_cuda", "fp16")),
        (("tensorrt",), "fp32", ("torch_cuda", "fp32")),
        # no GPU: the processor, with what is asked for
        (("tensorrt", "torch_cuda"), "int8", ("openvino", "int8")),
        (("tensorrt", "torch_cuda"), "bf16", ("openvino", "bf16")),
        (("tensorrt", "torch_cuda"), "fp16", ("openvino", "bf16")),
        (("tensorrt", "torch_cuda", "openvino"), "int8", ("onnxruntime", "int8")),
        # ONNX Runtime knows no bf16
        (("tensorrt", "torch_cuda", "openvino"), "bf16", ("onnxruntime", "fp32")),
        (("tensorrt", "torch_cuda", "openvino", "onnxruntime"), "int8", ("torch", "fp32")),
    ],
)
def test_the_first_that_can_run_is_chosen(missing: tuple[str, ...], precision: str, expected: tuple[str, str]) -> None:
    found = choose_engine("auto", precision, obstacles=without(*missing))  # type: ignore[arg-type]
    assert (found.kind, found.precision) == expected
    assert found.skipped == {kind: f"no {kind}" for kind in missing}


def test_where_none_can_run_every_reason_is_given() -> None:
    with pytest.raises(EngineError, match=r"tensorrt: no tensorrt; torch_cuda: .*; openvino: no openvino; .*torch: no"):
        choose_engine("auto", "bf16", obstacles=without(*ORDER))  # type: ignore[arg-type]


def test_a_named_engine_is_never_replaced() -> None:
    with pytest.raises(EngineError, match="no engine can run here: openvino: no openvino"):
        choose_engine("openvino", "bf16", obstacles=without("openvino"))  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", ["auto", "torch_cuda", "tensorrt"])
def test_a_profile_without_a_card_uses_none(wanted: str) -> None:
    if wanted == "auto":
        found = choose_engine("auto", "int8", obstacles=without(), card=False)  # type: ignore[arg-type]
        assert (found.kind, found.precision) == ("openvino", "int8")
        assert set(found.skipped.values()) == {"memory.gpu_gib is 0: no stage may use a GPU"}
        return
    with pytest.raises(EngineError, match=r"memory\.gpu_gib is 0.*Set detect\.engine to"):
        choose_engine(wanted, "fp16", obstacles=without(), card=False, key="detect.engine")  # type: ignore[arg-type]


def test_a_machine_without_a_card_has_no_torch_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.engines.select.DEVICES", tmp_path)
    # what the driver makes besides, and no card
    (tmp_path / "nvidiactl").touch()
    assert no_torch_cuda(None) == "this machine has no NVIDIA GPU"
    # a container that sees the second card alone
    (tmp_path / "nvidia1").touch()
    monkeypatch.setattr("cascade.engines.select.version", lambda _: "2.15.0+cu132")
    assert no_torch_cuda(None) is None
    monkeypatch.setattr("cascade.engines.select.version", lambda _: "2.15.0+cpu")
    assert no_torch_cuda(None) == "torch is built for processors alone"
    monkeypatch.setattr("cascade.engines.select.find_spec", lambda _: None)
    assert "not installed: torch, onnx" in str(no_torch_cuda(None))


def test_a_machine_without_a_card_has_no_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.engines.select.DEVICES", tmp_path)
    assert no_tensorrt(None) == "this machine has no NVIDIA GPU"
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr("cascade.engines.select.find_spec", lambda _: None)
    assert "needs the extra `gpu` (not installed: tensorrt)" in str(no_tensorrt(None))
    monkeypatch.setattr("cascade.engines.select.find_spec", lambda _: object())
    assert "no TensorRT engine" in str(no_tensorrt(tmp_path))
    (tmp_path / "classifier.engine").touch()
    assert no_tensorrt(tmp_path) is None
