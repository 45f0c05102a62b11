"""Which engine a machine gets, and what is said about those it does not get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cascade.engines.base import EngineError
from cascade.engines.select import ORDER, choose_engine, no_tensorrt

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
        # no GPU: the processor, with what is asked for
        (("tensorrt",), "int8", ("openvino", "int8")),
        (("tensorrt",), "bf16", ("openvino", "bf16")),
        (("tensorrt",), "fp16", ("openvino", "bf16")),
        (("tensorrt", "openvino"), "int8", ("onnxruntime", "int8")),
        # ONNX Runtime knows no bf16
        (("tensorrt", "openvino"), "bf16", ("onnxruntime", "fp32")),
        (("tensorrt", "openvino", "onnxruntime"), "int8", ("torch", "fp32")),
    ],
)
def test_the_first_that_can_run_is_chosen(missing: tuple[str, ...], precision: str, expected: tuple[str, str]) -> None:
    found = choose_engine("auto", precision, obstacles=without(*missing))  # type: ignore[arg-type]
    assert (found.kind, found.precision) == expected
    assert found.skipped == {kind: f"no {kind}" for kind in missing}


def test_where_none_can_run_every_reason_is_given() -> None:
    with pytest.raises(EngineError, match=r"tensorrt: no tensorrt; openvino: no openvino; onnxruntime: .*torch: no"):
        choose_engine("auto", "bf16", obstacles=without(*ORDER))  # type: ignore[arg-type]


def test_a_named_engine_is_never_replaced() -> None:
    with pytest.raises(EngineError, match="no engine can run here: openvino: no openvino"):
        choose_engine("openvino", "bf16", obstacles=without("openvino"))  # type: ignore[arg-type]


def test_a_machine_without_a_card_has_no_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.engines.select.NVIDIA", tmp_path / "nvidia0")
    assert no_tensorrt(None) == "this machine has no NVIDIA GPU"
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr("cascade.engines.select.find_spec", lambda _: None)
    assert "needs the extra `gpu` (not installed: tensorrt)" in str(no_tensorrt(None))
    monkeypatch.setattr("cascade.engines.select.find_spec", lambda _: object())
    assert "no TensorRT engine" in str(no_tensorrt(tmp_path))
    (tmp_path / "classifier.engine").touch()
    assert no_tensorrt(tmp_path) is None
