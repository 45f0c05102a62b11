"""CUDA graphs of an ONNX file, captured and replayed by a double on the processor: these tests have no GPU."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cascade.engines.base import EngineError, Kind
from cascade.engines.boxes import BoxEngine
from cascade.engines.classifier import load_engine
from cascade.engines.fused import ATTENTION, GELU, LINEAR, SELECT, SILU, fuse, operators
from cascade.engines.load import open_session
from cascade.engines.onnx_graph import Graph, read_graph
from cascade.engines.plan import Planner, fold_constants
from cascade.engines.torch_cuda import TorchCudaSession, graph_file, sizes_up_to
from tests.support import tiny, tiny_attention, tiny_detector, tiny_dino
from tests.support.fake_cuda import FakeCuda, run_on_a_double


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folded graph of a tiny DINOv2 under a head."""
    from tasks.classifier.model import write_onnx
    from tasks.optimize.fold import fold

    folder = tmp_path_factory.mktemp("dino")
    write_onnx(
        fold(tiny_dino.classifier(tiny_dino.write_backbone(folder / "backbone"))),
        tiny_dino.SIZE,
        folder / "classifier.onnx",
    )
    return folder / "classifier.onnx"


def pictures(count: int, size: int = tiny_dino.SIZE) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def session_of(
    model: Path, precision: Any = "fp32", sizes: tuple[int, ...] = (1, 2, 4), **options: Any
) -> TorchCudaSession:
    return TorchCudaSession(model, precision, sizes, **{"device": "cpu", "cuda": FakeCuda(), **options})


def expected(model: Path, batch: np.ndarray) -> np.ndarray:
    reference = open_session(model, "onnxruntime", "fp32", 1)
    return reference.run(batch)[reference.outputs[0]]


@pytest.mark.parametrize(
    ("count", "replays"),
    [
        # in the size of its own
        (1, {1: 1, 2: 0, 4: 0}),
        (4, {1: 0, 2: 0, 4: 1}),
        # padded to the next one
        (3, {1: 0, 2: 0, 4: 1}),
        # divided: twice the largest, and what is left
        (9, {1: 1, 2: 0, 4: 2}),
        (11, {1: 0, 2: 0, 4: 3}),
    ],
)
def test_a_batch_is_padded_to_the_next_size_or_divided(dino: Path, count: int, replays: dict[int, int]) -> None:
    session = session_of(dino)
    assert session.run(pictures(count))["logit"] == pytest.approx(expected(dino, pictures(count)), abs=1e-4)
    assert {size: one.graph.replays for size, one in session._graphs.items()} == replays
    assert (session.kind, session.device, session.precision, session.batches) == ("torch_cuda", "cpu", "fp32", None)


def test_answers_do_not_depend_on_the_pictures_of_before(dino: Path) -> None:
    session = session_of(dino)
    first = session.run(pictures(3))["logit"]
    session.run(255 - pictures(4))
    assert np.array_equal(session.run(pictures(3))["logit"], first)


def test_answers_stay_as_they_are_while_others_are_computed(dino: Path) -> None:
    session, wanted = session_of(dino), {count: expected(dino, pictures(count)) for count in range(1, 7)}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda turn: (turn % 6 + 1, session.run(pictures(turn % 6 + 1))["logit"]), range(24)))
    for count, logit in found:
        assert logit == pytest.approx(wanted[count], abs=1e-4)


def test_the_weights_live_as_long_as_the_graphs(dino: Path) -> None:
    """A graph repeats addresses; the double fails where a tensor of them was freed."""
    session = session_of(dino)
    gc.collect()
    assert np.isfinite(session.run(pictures(2))["logit"]).all()
    for one in session._graphs.values():
        one._plan = None  # type: ignore[assignment]
    gc.collect()
    with pytest.raises(EngineError, match="was freed"):
        session.run(pictures(2))


def test_the_graph_in_fp16_is_the_file_beside_it(tmp_path: Path) -> None:
    from tasks.optimize import cast

    source = tiny_attention.write(tmp_path / "classifier")
    with pytest.raises(EngineError, match=r"classifier\.fp16\.onnx"):
        session_of(source, "fp16")
    half = cast.to_half(cast.prepare(onnx.load(source)), set(), tiny_attention.pictures(1), "onnxruntime")
    onnx.save(half, graph_file(source, "fp16"))
    session = session_of(source, "fp16")
    assert (session.precision, session.file.name) == ("fp16", "classifier.fp16.onnx")
    assert any("float16" in str(one.dtype) for one in session._graphs[4].graph.kept.values())
    found, wanted = session.run(tiny_attention.pictures())["logit"], expected(source, tiny_attention.pictures())
    assert np.abs(found - wanted).max() < 0.05
    assert not np.array_equal(found, wanted)


@pytest.mark.parametrize("precision", ["int8", "bf16", "fp32"])
def test_what_is_not_fp16_is_fp32(dino: Path, precision: str) -> None:
    assert session_of(dino, precision, sizes=(1,)).precision == "fp32"


def test_without_a_card_it_is_refused(dino: Path) -> None:
    with pytest.raises(EngineError, match="needs an NVIDIA GPU, and torch sees none"):
        session_of(dino, cuda=FakeCuda(available=False))


def test_answers_that_lie_elsewhere_are_refused(dino: Path) -> None:
    session = session_of(dino)
    session._device = __import__("torch").device("cuda")
    with pytest.raises(EngineError, match=r"asked for cuda, and its answers lie on \['cpu'\]"):
        session._where()


def test_a_closed_session_gives_the_card_back(dino: Path) -> None:
    double = FakeCuda()
    session_of(dino, cuda=double).close()
    assert double.calls == ["empty_cache"]


@pytest.mark.parametrize(
    ("most", "sizes"),
    [
        (1, (1,)),
        (8, (1, 2, 4, 8)),
        # the most is always one of them
        (6, (1, 2, 4, 6)),
        (33, (1, 2, 4, 8, 16, 32, 33)),
    ],
)
def test_sizes_that_are_captured(most: int, sizes: tuple[int, ...]) -> None:
    assert sizes_up_to(most) == sizes


def planner_of(model: Path, device: str) -> Planner:
    import torch

    from cascade.engines.operators import OPERATORS, SETTINGS

    known = {**OPERATORS, **operators()}
    return Planner(fuse(fold_constants(read_graph(model, OPERATORS), known)), known, SETTINGS, torch.device(device))


@pytest.mark.parametrize("batch", [1, 3])
def test_no_step_needs_a_value_of_the_card(dino: Path, batch: int) -> None:
    """On `meta` nothing can be read back, and constants that were left on the processor do not fit."""
    import torch

    plan = planner_of(dino, "meta").plan(batch)
    pixels = torch.zeros(batch, tiny_dino.SIZE, tiny_dino.SIZE, 3, dtype=torch.uint8, device="meta")
    found = plan.run(pixels)
    assert (found["logit"].device.type, tuple(found["logit"].shape)) == ("meta", (batch,))
    constants = [one for step in plan.steps for one in step.inputs if isinstance(one, torch.Tensor)]
    # whatever is computed with lies on the device; what an operator reads, such as a shape, on the processor
    assert {one.device.type for one in constants if one.is_floating_point()} == {"meta"}
    assert {one.device.type for one in constants} <= {"meta", "cpu"}


def one_graph(tmp_path: Path, nodes: list[Any], weights: dict[str, np.ndarray], shape: list[Any] | None = None) -> Path:
    """A file of some nodes from `image` (batch, 4, 4, 3) to `logit`."""
    graph = helper.make_graph(
        nodes, "some",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape or ["batch", 4, 4, 3])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    path = tmp_path / "some.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


node = helper.make_node
REAL = node("Cast", ["image"], ["real"], to=TensorProto.FLOAT)


@pytest.mark.parametrize(
    ("nodes", "shape", "message"),
    [
        # a shape that follows from the pixels
        (
            [
                node("Cast", ["image"], ["long"], to=TensorProto.INT64),
                node("Flatten", ["long"], ["flat"], axis=0),
                node("Squeeze", ["flat", "zero"], ["shape"]),
                REAL,
                node("Reshape", ["real", "shape"], ["logit"]),
            ],
            None,
            "Reshape of logit cannot be part of a CUDA graph",
        ),
        # two sides of any length
        ([node("Cast", ["image"], ["logit"], to=TensorProto.FLOAT)], ["batch", "side", 4, 3], "only the batch"),
        # an answer that no pixel has a part in
        ([node("Cast", ["zero"], ["logit"], to=TensorProto.FLOAT)], None, "does not follow from the pixels"),
        # an operator that no table has
        ([node("Abacus", ["image"], ["logit"])], None, "operator Abacus is not supported"),
    ],
    ids=["shape of pixels", "two dynamic axes", "constant", "unknown"],
)  # fmt: skip
def test_a_graph_that_cannot_be_captured_is_named(
    tmp_path: Path, nodes: list[Any], shape: list[Any] | None, message: str
) -> None:
    with pytest.raises(EngineError, match=rf"some\.onnx: .*{message}"):
        session_of(one_graph(tmp_path, nodes, {"zero": np.array([0])}, shape))


def test_shapes_are_computed_once_and_not_by_the_card(tmp_path: Path) -> None:
    nodes = [
        REAL,
        node("Shape", ["image"], ["sides"]),
        node("Gather", ["sides", "first"], ["count"], axis=0),
        node("Concat", ["count", "rest"], ["wanted"], axis=0),
        node("Reshape", ["real", "wanted"], ["rows"]),
        node("ReduceMean", ["rows"], ["logit"], axes=[1], keepdims=0),
    ]
    model = one_graph(tmp_path, nodes, {"first": np.array([0]), "rest": np.array([-1])})
    plan = planner_of(model, "meta").plan(2)
    assert [step.outputs for step in plan.steps] == [("real",), ("rows",), ("logit",)]
    batch = pictures(3, 4)
    assert session_of(model).run(batch)["logit"] == pytest.approx(batch.mean((1, 2, 3)), rel=1e-5)


def count(graph: Graph) -> dict[str, int]:
    names = (ATTENTION, GELU, LINEAR, SELECT, "Softmax", "Erf")
    return {op: sum(one.op == op for one in graph.nodes) for op in names}


def test_chains_of_a_transformer_become_one_operation_each(dino: Path) -> None:
    from cascade.engines.operators import OPERATORS

    blocks = 2
    graph = fuse(fold_constants(read_graph(dino, OPERATORS), OPERATORS))
    found = count(graph)
    assert (found[ATTENTION], found[GELU], found["Softmax"], found["Erf"]) == (blocks, blocks, 0, 0)
    # queries with keys and values, output, and both of the MLP, in each block; and the head's
    assert found[LINEAR] >= 4 * blocks
    assert found[SELECT] >= 3 * blocks


def test_a_product_is_part_of_one_chain_alone(tmp_path: Path) -> None:
    """Its weights are constant, as are the values that attention mixes here: two chains end in the same product."""
    from cascade.engines.operators import OPERATORS

    nodes = [
        REAL,
        node("MatMul", ["real", "turn"], ["product"]),
        node("Softmax", ["product"], ["share"], axis=-1),
        node("MatMul", ["share", "turn"], ["mixed"]),
        node("Add", ["mixed", "bias"], ["logit"]),
    ]
    weights = {"turn": np.eye(3, dtype=np.float32), "bias": np.arange(3, dtype=np.float32)}
    model = one_graph(tmp_path, nodes, weights)
    assert [one.op for one in fuse(read_graph(model, OPERATORS)).nodes] == ["Cast", ATTENTION, "Add"]
    expanded = session_of(model).run(pictures(2, 4))["logit"]
    assert expanded == pytest.approx(expected(model, pictures(2, 4)), abs=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_a_gated_activation_becomes_one_operation(tmp_path: Path, turned: bool) -> None:
    from cascade.engines.operators import OPERATORS

    inputs = ["small", "gate"][:: -1 if turned else 1]
    nodes = [
        REAL,
        node("Div", ["real", "hundred"], ["small"]),
        node("Sigmoid", ["small"], ["gate"]),
        node("Mul", inputs, ["logit"]),
    ]
    model = one_graph(tmp_path, nodes, {"hundred": np.array(100, dtype=np.float32)})
    assert [one.op for one in fuse(read_graph(model, OPERATORS)).nodes] == ["Cast", "Div", SILU]
    assert session_of(model).run(pictures(2, 4))["logit"] == pytest.approx(expected(model, pictures(2, 4)), abs=1e-5)


def test_the_chains_are_found_in_fp16_too(dino: Path, tmp_path: Path) -> None:
    from cascade.engines.operators import OPERATORS
    from tasks.optimize import cast

    half = cast.to_half(cast.prepare(onnx.load(dino)), set(), pictures(1), "onnxruntime")
    onnx.save(half, tmp_path / "half.onnx")
    graphs = [fuse(fold_constants(read_graph(file, OPERATORS), OPERATORS)) for file in (dino, tmp_path / "half.onnx")]
    assert count(graphs[0]) == count(graphs[1])


def test_a_value_that_something_else_needs_is_kept(tmp_path: Path) -> None:
    from cascade.engines.operators import OPERATORS

    nodes = [
        REAL,
        node("MatMul", ["real", "turn"], ["product"]),
        node("Softmax", ["product"], ["share"], axis=-1),
        node("MatMul", ["share", "turn"], ["mixed"]),
        node("Add", ["mixed", "share"], ["logit"]),
    ]
    model = one_graph(tmp_path, nodes, {"turn": np.eye(3, dtype=np.float32)})
    graph = fuse(read_graph(model, OPERATORS))
    assert [one.op for one in graph.nodes] == ["Cast", "MatMul", "Softmax", "MatMul", "Add"]
    assert session_of(model).run(pictures(2, 4))["logit"] == pytest.approx(expected(model, pictures(2, 4)), abs=1e-5)


@pytest.mark.parametrize("kind", ["torch_cuda"])
def test_both_wrappers_load_it_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    double = run_on_a_double(monkeypatch)
    engine = load_engine(tiny.write_classifier(tmp_path / "classifier"), kind, "fp32", 1)
    # as many as the contract promises
    assert len(double.graphs) == len(sizes_up_to(32))
    assert (engine.name, engine.device, engine.precision) == (kind, "cpu", "fp32")
    assert len(engine.run(pictures(5, tiny.SIZE))) == 5
    boxes = BoxEngine(tiny_detector.write_detector(tmp_path / "yolo", "yolo"), kind, 1)
    reference = BoxEngine(tmp_path / "yolo", "onnxruntime", 1)
    assert boxes.see([tiny_detector.street_with(3)] * 3) == reference.see([tiny_detector.street_with(3)] * 3)
