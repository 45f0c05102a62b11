"""Int8 weights with a scale a group: near the weights they stand for, run as bytes, and refused where they are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cascade.engines.base import Kind
from cascade.engines.classifier import load_engine
from tasks.optimize.groupwise_int8 import compress, quantized
from tests.support import tiny_dino

EXCLUDE = ["/head/.*"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tasks.classifier.model import write_onnx
    from tasks.optimize.fold import fold

    found = tmp_path_factory.mktemp("classifier")
    backbone = tiny_dino.write_backbone(tmp_path_factory.mktemp("dino"))
    write_onnx(fold(tiny_dino.classifier(backbone)), tiny_dino.SIZE, found / "classifier.onnx")
    (found / "contract.json").write_text(json.dumps(tiny_dino.contract()))
    compress(found / "classifier.onnx", found / "classifier_int8.onnx", EXCLUDE)
    return found


@given(
    arrays(np.float32, st.tuples(st.sampled_from([4, 6, 8]), st.integers(1, 5)), elements=st.floats(-8, 8, width=32)),
    st.sampled_from([2, 4]),
)
def test_a_level_is_off_by_half_a_step_at_most(weight: np.ndarray, group: int) -> None:
    levels, scale = quantized(weight, group)
    again = (levels * scale).reshape(weight.shape[::-1]).T
    steps = np.broadcast_to(scale, levels.shape).reshape(weight.shape[::-1]).T
    assert (np.abs(again - weight) <= 0.5 * steps + 1e-6).all()
    # a group of nothing stays nothing
    assert not again[weight == 0].any()


@pytest.mark.parametrize(("channels", "groups"), [(256, 2), (128, 1), (48, 1)])
def test_channels_that_do_not_divide_share_one_scale(channels: int, groups: int) -> None:
    levels, scale = quantized(np.ones((channels, 3), dtype=np.float32), 128)
    assert levels.shape == (3, groups, channels // groups)
    assert scale.shape == (3, groups, 1)


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_both_engines_run_it_and_are_near(folder: Path, kind: Kind) -> None:
    whole, small = load_engine(folder, kind, "fp32", 1), load_engine(folder, kind, "int8", 1)
    pixels = np.random.default_rng(5).integers(0, 256, (8, tiny_dino.SIZE, tiny_dino.SIZE, 3), dtype=np.uint8)
    answers = whole.run(pixels), small.run(pixels)
    assert small.precision == "int8"
    assert np.abs(answers[0] - answers[1]).max() < 0.1
    assert not np.array_equal(*answers)


def test_what_is_kept_stays_in_floats(folder: Path) -> None:
    import onnx

    stored = {one.name: one for one in onnx.load(folder / "classifier_int8.onnx").graph.initializer}
    small = [name for name, one in stored.items() if one.data_type == onnx.TensorProto.INT8]
    assert small
    assert not [name for name in small if "head" in name]
    assert (folder / "classifier_int8.onnx").stat().st_size < 0.7 * (folder / "classifier.onnx").stat().st_size


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"model\.onnx"):
        compress(tmp_path / "model.onnx", tmp_path / "int8.onnx", [])
