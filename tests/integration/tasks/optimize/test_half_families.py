"""FP16 graphs of every family that is served, from their real classes: what stays FP32, and parity with torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cascade.engines.torch_cuda import TorchCudaSession, graph_file
from tasks.config import load_params
from tasks.config.tensorrt import TensorRTParams
from tasks.optimize import cast, half, nodes
from tasks.optimize.fp16_graph import types_of
from tasks.optimize.parity import ParityLimits, ParityReference, compare
from tests.support.fake_cuda import FakeCuda
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# random weights magnify rounding (any one kind of operation in FP16 moves the RT-DETR's scores by 0.03), so this finds
# graphs that are broken; how near a trained network comes is in docs/tensorrt.md
LOOSE = ParityLimits(cosine=0.99, probability_gap=0.1, corner_gap=0.1)


def vit(kind: str) -> tuple[Any, int]:
    """A tiny DINOv2 or DINOv3 under a linear head, over uint8 squares."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    if kind == "dinov2":
        from transformers import Dinov2Config, Dinov2Model

        size = 56
        config = Dinov2Config(
            hidden_size=48, num_hidden_layers=3, num_attention_heads=3, image_size=size, patch_size=14
        )
        trunk = Dinov2Model(config)
    else:
        from transformers import DINOv3ViTConfig, DINOv3ViTModel

        size = 64
        config3 = DINOv3ViTConfig(
            hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=3, image_size=size,
            patch_size=16, num_register_tokens=4,
        )  # fmt: skip
        trunk = DINOv3ViTModel(config3)
        # rotary positions follow from the size alone; traced, they become branches that no converter enters
        with torch.no_grad():
            fixed = trunk.rope_embeddings(torch.zeros(1, 3, size, size))
        trunk.rope_embeddings.forward = lambda _: fixed

    class Model(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = trunk, nn.Linear(48, 1)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            image = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
            return self.head(self.trunk(image).last_hidden_state.mean(dim=1)).squeeze(1)

    return Model().eval(), size


def detector(kind: str, folder: Path) -> tuple[Any, int]:
    """A small YOLO11, RT-DETR or RF-DETR of ours with random weights."""
    import torch

    torch.manual_seed(0)
    if kind == "yolo":
        from tasks.detection.yolo import Yolo

        params = load_params(ROOT / "params.yaml").detect.yolo
        return Yolo(params.model_copy(update={"scale": "n", "size": 96})).eval(), 96
    from tasks.config.detect import DetrParams
    from tasks.detection.detr import Detr

    size = 96 if kind == "rt_detr" else 70
    # as many queries as places: random scores are nearly equal, and a choice among them would be a lottery
    queries = 189 if kind == "rt_detr" else 25
    params = DetrParams(
        family=kind, repo=None, revision=None, size=size, layers=3, width=32, queries=queries, groups=1,
        decoder_layers=2, fusion_blocks=2, dropout=0.05, draws=1, steps=1, batch_size=1, learning_rate=1e-4,
    )  # fmt: skip
    if kind == "rf_detr":
        from transformers import Dinov2Config, Dinov2Model

        config = Dinov2Config(hidden_size=48, num_hidden_layers=3, num_attention_heads=3, image_size=70, patch_size=14)
        Dinov2Model(config).save_pretrained(folder / "backbone")
    model = Detr(params, folder / "backbone").eval()
    # as large as trained ones: freshly made weights are so small that a normalisation magnifies nothing but rounding
    for values in model.parameters():
        if values.ndim > 1:
            torch.nn.init.xavier_uniform_(values)
    return model, size


def export(model: Any, size: int, outputs: list[str], path: Path) -> None:
    import torch

    axes = {name: {0: "batch"} for name in ("image", *outputs)}
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (example,), str(path), input_names=["image"], output_names=outputs, dynamic_axes=axes,
            opset_version=17, dynamo=False,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "family", "excluded"),
    [
        ("dinov2", "vit", []),
        ("dinov3", "vit", []),
        # positions of boxes, always
        ("yolo", "yolo", ["box decoding"]),
        # and of the points that deformable attention samples at
        ("rt_detr", "detr", ["box decoding", "sampling points"]),
        ("rf_detr", "detr", ["box decoding", "sampling points"]),
    ],
)
def test_each_family_has_an_fp16_graph_near_torch(tmp_path: Path, kind: str, family: str, excluded: list[str]) -> None:
    import torch

    model, size = vit(kind) if family == "vit" else detector(kind, tmp_path)
    outputs = ["logit"] if family == "vit" else ["corners", "scores"]
    export(model, size, outputs, tmp_path / "model.onnx")
    pictures = np.random.default_rng(5).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    with torch.no_grad():
        answer = model(torch.from_numpy(pictures))
    parts = (answer,) if family == "vit" else answer
    reference = ParityReference(pictures, {name: part.numpy() for name, part in zip(outputs, parts, strict=True)})

    found = half.write_half(
        tmp_path / "model.onnx", tmp_path / "half.onnx", reference, LOOSE, TensorRTParams(), converter="onnxruntime"
    )

    assert list(found.excluded)[: len(excluded)] == excluded
    assert found.share.operations > 0.5
    assert found.share.weights > 0.9
    written = onnx.load(tmp_path / "half.onnx")
    onnx.checker.check_model(written, full_check=True)
    graph = nodes.Graph(written.graph)
    assert nodes.family_of(graph) == family
    # outside it is as before: bytes in, FP32 out
    assert [item.type.tensor_type.elem_type for item in written.graph.input] == [onnx.TensorProto.UINT8]
    assert {item.type.tensor_type.elem_type for item in written.graph.output} == {onnx.TensorProto.FLOAT}
    kinds = types_of(written)
    samplers = [node for node in written.graph.node if node.op_type == "GridSample"]
    assert all(kinds[node.input[1]] == onnx.TensorProto.FLOAT for node in samplers)
    assert bool(samplers) == (family == "detr")


@pytest.mark.parametrize("kind", ["dinov2", "dinov3", "yolo", "rt_detr", "rf_detr"])
def test_each_family_is_captured_as_a_cuda_graph(tmp_path: Path, kind: str) -> None:
    """In both precisions and any number of pictures; the double captures, and the processor computes."""
    import torch

    is_vit = kind.startswith("dino")
    model, size = vit(kind) if is_vit else detector(kind, tmp_path)
    outputs = ["logit"] if is_vit else ["corners", "scores"]
    export(model, size, outputs, tmp_path / "model.onnx")
    pictures = np.random.default_rng(5).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    with torch.no_grad():
        answer = model(torch.from_numpy(pictures))
    parts = (answer,) if is_vit else answer
    reference = ParityReference(pictures, {name: part.numpy() for name, part in zip(outputs, parts, strict=True)})
    half.write_half(
        tmp_path / "model.onnx", graph_file(tmp_path / "model.onnx", "fp16"), reference, LOOSE, TensorRTParams(),
        converter="onnxruntime",
    )  # fmt: skip
    for precision, limits in (("fp32", ParityLimits()), ("fp16", LOOSE)):
        session = TorchCudaSession(tmp_path / "model.onnx", precision, (1, 2), "cpu", FakeCuda())  # type: ignore[arg-type]
        assert session.outputs == tuple(outputs)
        found = compare(reference.outputs, session.run(pictures), limits)
        assert found.faults(limits) == []
        kinds = {one.dtype for one in session._graphs[1].graph.kept.values()}
        assert (torch.float16 in kinds) == (precision == "fp16")


@pytest.mark.skipif(not cast.has_autocast(), reason="ModelOpt comes with the extra gpu")
def test_autocast_takes_the_same_way(tmp_path: Path) -> None:
    import torch

    model, size = vit("dinov2")
    export(model, size, ["logit"], tmp_path / "model.onnx")
    pictures = np.random.default_rng(5).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    with torch.no_grad():
        reference = ParityReference(pictures, {"logit": model(torch.from_numpy(pictures)).numpy()})
    found = half.search(onnx.load(tmp_path / "model.onnx"), reference, LOOSE, converter="autocast")
    assert found.share.operations > 0.5
