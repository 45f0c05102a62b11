"""Packing to 4 bits and back, and checkpoints that are not whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.vlm import awq
from cascade.vlm.base import VlmError
from tasks.awq.backend import QuantizeError
from tasks.awq.packing import pack

QUANTIZATION = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
NAME = "model.language_model.layers.0.mlp.up_proj"


def weight(rows: int = 16, channels: int = 64, *, seed: int = 0, scale: float = 0.05, shift: float = 0.0) -> Any:
    import torch

    return torch.randn(rows, channels, generator=torch.Generator().manual_seed(seed)) * scale + shift


@settings(deadline=None, max_examples=40)
@given(
    rows=st.sampled_from([8, 16, 40]),
    groups=st.integers(1, 4),
    group=st.sampled_from([32, 64, 128]),
    seed=st.integers(0, 9),
    scale=st.sampled_from([1e-3, 0.05, 3.0]),
    shift=st.sampled_from([-1.0, 0.0, 1.0]),
)
def test_no_weight_moves_further_than_half_a_step(
    rows: int, groups: int, group: int, seed: int, scale: float, shift: float
) -> None:
    given_weight = weight(rows, groups * group, seed=seed, scale=scale, shift=shift * scale)
    packed = pack(given_weight, group)
    found = awq.dequantize(packed["qweight"], packed["qzeros"], packed["scales"], group)
    step = packed["scales"].float().t().repeat_interleave(group, dim=1)
    # zero points are whole numbers, so the ends of a grid may lie half a step further out
    assert bool(((found - given_weight).abs() <= 1.01 * step).all())
    assert float((found - given_weight).square().mean()) <= float((0.5 * step).square().mean())


def test_what_lies_on_the_grid_comes_back_bit_by_bit() -> None:
    packed = pack(weight(), 32)
    found = awq.dequantize(packed["qweight"], packed["qzeros"], packed["scales"], 32)
    again = pack(found, 32)
    assert all(bool((packed[part] == again[part]).all()) for part in ("qweight", "qzeros"))


@pytest.mark.parametrize(
    ("rows", "channels", "group"),
    [
        (16, 48, 32),  # the group does not divide the inputs
        (12, 64, 32),  # eight outputs share a word
    ],
)
def test_shapes_that_cannot_be_packed(rows: int, channels: int, group: int) -> None:
    with pytest.raises(QuantizeError, match="group_size"):
        pack(weight(rows, channels), group)


def test_a_weight_that_is_no_number() -> None:
    broken = weight()
    broken[3, 5] = float("nan")
    with pytest.raises(QuantizeError, match="no number"):
        pack(broken, 32)


def checkpoint(folder: Path, **changes: Any) -> Path:
    """A checkpoint of one layer; `changes` are tensors in place of its own, None to leave one out."""
    from safetensors.torch import save_file

    tensors = {f"{NAME}.{part}": value for part, value in pack(weight(), 32).items()}
    tensors = {**tensors, **{f"{NAME}.{part}": value for part, value in changes.items()}}
    save_file({name: value for name, value in tensors.items() if value is not None}, folder / awq.WEIGHTS)
    (folder / awq.CONFIG).write_text(json.dumps({awq.KEY: QUANTIZATION}), encoding="utf-8")
    return folder


def _scales(change: Callable[[Any], Any]) -> Any:
    return change(pack(weight(), 32)["scales"].clone())


def _with(value: float) -> Callable[[Any], Any]:
    def change(scales: Any) -> Any:
        scales[1, 3] = value
        return scales

    return change


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        # one of the three parts is missing
        ({"scales": None}, "alone"),
        # of another group size
        ({"scales": lambda s: s[:1].contiguous()}, "do not fit groups"),
        # a scale that no rounding gives
        ({"scales": _with(0.0)}, "no number"),
        ({"scales": _with(float("nan"))}, "no number"),
        ({"scales": _with(-0.01)}, "no number"),
    ],
)
def test_checkpoints_that_are_not_whole(tmp_path: Path, changes: dict[str, Any], message: str | None) -> None:
    folder = checkpoint(tmp_path, **{name: _scales(made) if made else None for name, made in changes.items()})
    if message is None:
        assert [name for name, _ in awq.tensors(folder)] == [f"{NAME}.weight"]
        return
    with pytest.raises(VlmError, match=f"{NAME}.*{message}"):
        list(awq.tensors(folder))


@pytest.mark.parametrize("kept", [0, 7, 200, -1])
def test_a_checkpoint_cut_short(tmp_path: Path, kept: int) -> None:
    file = checkpoint(tmp_path) / awq.WEIGHTS
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(VlmError, match="not a whole model"):
        list(awq.tensors(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "gemv"},  # other orders of the same bits
        {"bits": 8},
        {"zero_point": False},
    ],
)
def test_forms_that_are_not_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    (tmp_path / awq.CONFIG).write_text(json.dumps({awq.KEY: {**QUANTIZATION, **changes}}), encoding="utf-8")
    with pytest.raises(VlmError, match="only AWQ"):
        awq.quantization(tmp_path)


@pytest.mark.parametrize("config", [{}, {awq.KEY: None}, {awq.KEY: {"quant_method": "gptq"}}])
def test_other_models_are_not_unpacked(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / awq.CONFIG).write_text(json.dumps(config), encoding="utf-8")
    assert awq.quantization(tmp_path) is None
