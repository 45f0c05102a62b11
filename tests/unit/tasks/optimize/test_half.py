"""FP16 graphs: what stays FP32 and why, what is refused, and that the parity check really rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tasks.config.tensorrt import TensorRTParams
from tasks.optimize import cast, half, nodes
from tasks.optimize.fp16_graph import rounded
from tasks.optimize.onnx_run import nodes_beyond, open_graph
from tasks.optimize.parity import ParityLimits, ParityReference, compare, run_all
from tests.support import tiny_attention

NEAR = ParityLimits(cosine=0.9999, probability_gap=0.005)


def reference_of(model: Any) -> ParityReference:
    pictures = tiny_attention.pictures()
    return ParityReference(pictures, run_all(open_graph(model), pictures))


@pytest.mark.parametrize(
    ("options", "excluded"),
    [
        # nothing hurts: plain FP16
        ({}, ()),
        # an activation beyond 65504 / 8: only what makes and takes it
        ({"peak": 6e4}, ("overflow",)),
        # scores of 3000 have steps of 2: attention stays FP32, after normalisation alone did not help
        ({"shift": 3000.0}, ("normalisation", "attention scores")),
    ],
    ids=["plain", "overflow", "large scores"],
)
def test_more_stays_fp32_only_where_parity_asks_for_it(options: dict[str, float], excluded: tuple[str, ...]) -> None:
    model = tiny_attention.graph(**options)
    found = half.search(model, reference_of(model), NEAR, converter="onnxruntime")
    assert found.excluded == excluded
    assert not found.attempts[-1]["faults"]
    assert all(attempt["faults"] for attempt in found.attempts[:-1])
    assert found.share.operations > 0.5
    assert [attempt["excluded"] for attempt in found.attempts][-1] == list(excluded)


@pytest.mark.parametrize(
    ("margin", "found"),
    [
        (8.0, {"high", "twice", "back"}),  # a weight of 1e4 times 8 is beyond 65504, and so are activations
        (1.0, set()),  # none of them is by itself
    ],
)
def test_the_margin_decides_what_counts_as_overflow(
    margin: float, found: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = tiny_attention.graph(peak=1e4), list[set[str]]()

    def record(*given: Any) -> set[str]:
        seen.append(nodes_beyond(*given))
        return seen[-1]

    monkeypatch.setattr(half, "nodes_beyond", record)
    half.search(model, reference_of(model), NEAR, TensorRTParams(range_margin=margin), converter="onnxruntime")
    assert seen == [found]


def test_a_group_is_excluded_from_the_start_where_params_name_it() -> None:
    model, params = tiny_attention.graph(), TensorRTParams(exclude=("normalisation",))
    found = half.search(model, reference_of(model), NEAR, params, converter="onnxruntime")
    assert found.row()["excluded"] == ["normalisation"]
    assert len(found.attempts) == 1


def test_a_limit_that_no_graph_keeps_is_an_error_that_lists_the_attempts(tmp_path: Path) -> None:
    source, target = tiny_attention.write(tmp_path), tmp_path / "classifier.fp16.onnx"
    target.write_bytes(b"previous")
    hopeless = ParityLimits(probability_gap=1e-9)
    with pytest.raises(half.HalfError, match=r"(?s)in FP32: nothing: \|Δp\|.*in FP32: .*head: \|Δp\|"):
        half.write_half(
            source, target, reference_of(onnx.load(source)), hopeless, TensorRTParams(), converter="onnxruntime"
        )
    assert target.read_bytes() == b"previous"


def test_an_fp32_graph_labelled_fp16_is_refused() -> None:
    model = tiny_attention.graph()
    with pytest.raises(half.HalfError, match="labelled FP16, but 0% of its operations and 0% of its weights"):
        half.check_half(model, "classifier.fp16.onnx", 0.5)
    real = cast.to_half(cast.prepare(model), set(), tiny_attention.pictures(1), "onnxruntime")
    assert half.check_half(real, "classifier.fp16.onnx", 0.5).operations > 0.9


def test_fp16_weights_that_are_cast_up_before_use_do_not_pass_as_fp16() -> None:
    # smaller files, FP32 arithmetic: what a careless converter leaves
    model = cast.prepare(tiny_attention.graph())
    names = {node.name for node in model.graph.node}
    with pytest.raises(half.HalfError, match="of its operations"):
        half.check_half(cast.to_half(model, names, tiny_attention.pictures(1), "onnxruntime"), "stored small", 0.5)


def test_the_parity_check_rounds_where_onnx_runtime_alone_does_not() -> None:
    # 1000 squared overflows FP16
    nodes_ = [
        helper.make_node("Cast", ["image"], ["x"], name="down", to=TensorProto.FLOAT16),
        helper.make_node("Mul", ["x", "x"], ["y"], name="square"),
        helper.make_node("Div", ["y", "x"], ["z"], name="root"),
        helper.make_node("Cast", ["z"], ["logit"], name="up", to=TensorProto.FLOAT),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("image", "logit")]
    made = helper.make_graph(nodes_, "square", values[:1], values[1:])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    thousand = np.array([1000.0], dtype=np.float32)
    assert open_graph(model)(thousand)["logit"] == 1000
    assert np.isinf(open_graph(rounded(model))(thousand)["logit"])


def test_a_prepared_graph_answers_the_same_and_casts_its_pixels_first() -> None:
    model = tiny_attention.graph()
    ready, pictures = cast.prepare(model), tiny_attention.pictures()
    assert [node.op_type for node in ready.graph.node if "image" in node.input] == ["Cast"]
    assert np.array_equal(open_graph(model)(pictures)["logit"], open_graph(ready)(pictures)["logit"])


def test_neighbours_in_fp32_are_connected_in_fp32() -> None:
    # the converter alone rounds between them, which undoes what they are excluded for
    ready, pictures = cast.prepare(tiny_attention.graph()), tiny_attention.pictures()
    everything = {node.name for node in ready.graph.node}
    same = open_graph(rounded(cast.to_half(ready, everything, pictures[:1], "onnxruntime")))(pictures)["logit"]
    # the output alone is rounded once
    assert np.abs(same - open_graph(ready)(pictures)["logit"]).max() <= 2.0**-10 * np.abs(same).max()


def test_groups_find_their_nodes() -> None:
    graph = nodes.Graph(cast.prepare(tiny_attention.graph()).graph)
    assert nodes.family_of(graph) == "vit"
    assert nodes.attention(graph) == {"product", "shifted", "softmax"}
    assert nodes.statistics(graph) == {"norm"}
    assert nodes.head(graph) == {"features", "head", "squeeze"}
    assert nodes.decoding(graph) == set()


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        # a NaN, as FP16 makes them
        ({"logit": np.array([1.0, np.nan])}, "not finite"),
        # the same direction, another probability
        ({"logit": np.array([2.0, -2.0])}, "|Δp|"),
        ({"logit": np.array([-1.0, 1.0])}, "cosine"),
    ],
    ids=["NaN", "scaled", "opposite"],
)
def test_every_kind_of_fault_is_named(answers: dict[str, np.ndarray], fault: str) -> None:
    reference = {"logit": np.array([1.0, -1.0])}
    assert any(fault in text for text in compare(reference, answers).faults(ParityLimits()))
    assert compare(reference, reference).faults(ParityLimits()) == []


def boxes(order: list[int], shift: float = 0.0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1)
    corners, scores = draw.random((2, 20, 4)), draw.random((2, 20, 3))
    return {"corners": corners[:, order] + shift, "scores": scores[:, order]}


def test_boxes_may_change_places_but_not_move() -> None:
    reference = boxes(list(range(20)))
    assert compare(reference, boxes(list(range(20))[::-1])).faults(ParityLimits()) == []
    assert any("corner" in text for text in compare(reference, boxes(list(range(20)), 0.05)).faults(ParityLimits()))


@pytest.mark.parametrize(
    ("limits", "fault"),
    [
        (ParityLimits(quantile=0.9), False),  # one box in ten may move
        (ParityLimits(quantile=1.0), True),  # none may
        (ParityLimits(quantile=1.0, boxes=1), False),  # only the best box counts, and another one moved
    ],
)
def test_how_many_boxes_count_and_which_share_of_them_may_move(limits: ParityLimits, fault: bool) -> None:
    reference, moved = boxes(list(range(20))), boxes(list(range(20)))
    # the third best of one image
    third = np.argsort(-reference["scores"][0].max(axis=1))[2]
    moved["corners"][0, third, 3] += 0.5
    assert any("corner" in text for text in compare(reference, moved, limits).faults(limits)) is fault
