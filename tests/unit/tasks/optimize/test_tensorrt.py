"""The builder against a double that knows exactly the names of TensorRT 10.12 and 11.4; and all its failures."""

from __future__ import annotations

import json
import shutil
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cascade.engines.key import EngineKey, EngineRecord, Machine, read_record, record_path
from tasks.config.tensorrt import TensorRTParams
from tasks.optimize import cast
from tasks.optimize.engine_layers import InspectError, check_share, layer_share
from tasks.optimize.half import HalfError
from tasks.optimize.onnx_run import open_graph
from tasks.optimize.parity import ParityLimits, ParityReference, run_all
from tasks.optimize.tensorrt import BuildError, BuildPlan, ensure_engine, key_of, usable, write_engine
from tasks.optimize.verify import EngineRequest, VerificationError, export_engine
from tests.support import tiny_attention
from tests.support.fake_tensorrt import FakeTensorRT

HERE = Machine(gpu="Double 4090", compute="8.9", driver="580.65.06", tensorrt="11.4.0.106")
STUBS = ["tensorrt_10_12", "tensorrt_11_4"]
# what shutil.disk_usage gives
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiny_attention.write(tmp_path / "classifier")


def install(monkeypatch: pytest.MonkeyPatch, stub: str = "tensorrt_11_4", **options: Any) -> FakeTensorRT:
    double = FakeTensorRT(stub, **options)
    monkeypatch.setitem(sys.modules, "tensorrt", double)
    return double


def machine_of(double: FakeTensorRT) -> Machine:
    return HERE.model_copy(update={"tensorrt": double.__version__})


def request_of(source: Path, precision: str = "fp16", **limits: float) -> EngineRequest:
    return EngineRequest(source, precision, (1, 2, 4), ParityLimits(**limits), caches=source.parent / "caches")  # type: ignore[arg-type]


def reference_of(source: Path) -> ParityReference:
    pictures = tiny_attention.pictures()
    reference = run_all(open_graph(onnx.load(source)), pictures)
    labels = reference["logit"] > 0
    return ParityReference(
        pictures, reference, lambda answers: float(((answers["logit"] > 0) == labels).mean()), "accuracy"
    )


def plan_of(source: Path, precision: str = "fp32") -> BuildPlan:
    # as `export_engine` does
    onnx.save(cast.prepare(onnx.load(source)), source)
    return BuildPlan(source, source.with_suffix(".engine"), (1, 2, 4), precision, caches=source.parent)  # type: ignore[arg-type]


@pytest.mark.parametrize("stub", STUBS)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_an_engine_is_built_and_verified(
    source: Path, monkeypatch: pytest.MonkeyPatch, stub: str, precision: str
) -> None:
    double = install(monkeypatch, stub)
    report = export_engine(request_of(source, precision), reference_of(source), machine_of(double), "cpu")
    # strongly typed, and no flag that 11 has lost
    flag = double.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    assert double.named("Builder.create_network") == [(1 << int(flag),)]
    assert double.named("IOptimizationProfile.set_shape") == [("image", (1, 8, 8, 3), (2, 8, 8, 3), (4, 8, 8, 3))]
    assert report["half_layers"]["share"] == pytest.approx(1.0 if precision == "fp16" else 0.0, abs=0.15)
    assert report["parity"]["probability_gap"] < (0.005 if precision == "fp16" else 1e-5)
    assert report["metric"] == {"name": "accuracy", "torch": 1.0, "engine": 1.0}
    record = read_record(source.with_suffix(".engine"))
    assert record.verification["parity"] == report["parity"]
    assert record.key.tensorrt == double.__version__
    assert sorted(path.name for path in source.parent.glob("pending*")) == []


def test_the_timing_cache_is_read_again_and_a_foreign_one_dropped(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = install(monkeypatch)
    plan = plan_of(source)
    ensure_engine(plan, HERE)
    cache = next(source.parent.glob("*.cache"))
    assert cache.read_bytes() == b"timings"
    plan.engine.unlink()
    ensure_engine(plan, HERE)
    assert double.named("IBuilderConfig.create_timing_cache") == [(b"",), (b"timings",)]
    cache.write_bytes(b"of another version")
    plan.engine.unlink()
    ensure_engine(plan, HERE)
    assert double.named("IBuilderConfig.create_timing_cache")[2:] == [(b"of another version",), (b"",)]


@pytest.mark.parametrize(
    ("change", "built_again"),
    [
        # the same machine, graph and batches: what is there is kept
        ({}, False),
        ({"gpu": "Other 3090"}, True),
        ({"compute": "8.6"}, True),
        ({"driver": "575.10"}, True),
        ({"tensorrt": "11.3.0.99"}, True),
    ],
)
def test_a_foreign_key_triggers_a_rebuild_and_never_a_load(
    source: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], built_again: bool
) -> None:
    double = install(monkeypatch)
    ensure_engine(plan_of(source), HERE)
    ensure_engine(plan_of(source), HERE.model_copy(update=change))
    assert len(double.named("Builder.build_serialized_network")) == 1 + built_again
    assert double.named("Runtime.deserialize_cuda_engine") == []


@pytest.mark.parametrize("what", ["graph", "batches", "cut", "record"])
def test_an_engine_of_something_else_is_built_again(source: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    install(monkeypatch)
    plan = plan_of(source)
    ensure_engine(plan, HERE)
    assert usable(plan, HERE)
    match what:
        case "graph":
            onnx.save(cast.prepare(tiny_attention.graph(shift=1.0)), source)
        case "batches":
            plan = replace(plan, batches=(1, 1, 8))
        case "cut":
            plan.engine.write_bytes(plan.engine.read_bytes()[:-1])
        case "record":
            record_path(plan.engine).write_text("{")
    assert not usable(plan, HERE)
    ensure_engine(plan, HERE)
    assert usable(plan, HERE)


def test_an_fp32_graph_labelled_fp16_is_refused_before_anything_is_built(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = install(monkeypatch)
    with pytest.raises(HalfError, match=r"classifier.onnx is labelled FP16, but 0% of its operations"):
        ensure_engine(plan_of(source, "fp16"), HERE)
    assert double.calls == []


@pytest.mark.parametrize("stub", STUBS)
def test_an_fp32_engine_from_an_fp16_graph_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch, stub: str) -> None:
    double = install(monkeypatch, stub, full_precision=True)
    engine = source.with_suffix(".engine")
    engine.write_bytes(b"previous")
    with pytest.raises(InspectError, match=r"0 of \d+ layers \(0.0%\) are Half; .*FP32 under another name"):
        export_engine(request_of(source), reference_of(source), machine_of(double), "cpu")
    assert engine.read_bytes() == b"previous"


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        # what field reports of broken attention kernels look like
        (lambda values: values * np.nan, "not finite"),
        (lambda values: values[::-1], "cosine"),
        (lambda values: values + 0.5, r"\|Δp\|"),
        (lambda values: -values, "accuracy fell from 1.0000 to 0.0000"),
    ],
    ids=["NaN", "mixed up", "shifted", "negated"],
)
def test_an_engine_that_answers_wrongly_is_not_kept(
    source: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, fault: str
) -> None:
    double = install(monkeypatch, spoil=spoil)
    engine = source.with_suffix(".engine")
    engine.write_bytes(b"previous")
    with pytest.raises(VerificationError, match=rf"(?s){fault}.*It is not kept.*exclude"):
        export_engine(request_of(source), reference_of(source), machine_of(double), "cpu")
    assert engine.read_bytes() == b"previous"
    assert list(source.parent.glob("pending*")) == []


def test_unsupported_operators_are_listed_with_their_nodes(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    model = onnx.load(source)
    node = next(node for node in model.graph.node if node.name == "softmax")
    node.op_type, node.domain = "FusedAttention", "com.microsoft"
    raw = source.with_name("raw.onnx")
    onnx.save(model, raw)
    # and the bytes, which TensorRT does not turn around before they are cast
    with pytest.raises(
        BuildError, match=r"(?s)node 'turn' \(Transpose\): UINT8.*node 'softmax' \(FusedAttention\): no"
    ):
        ensure_engine(replace(plan_of(source), onnx=raw), HERE)


def test_a_builder_that_gives_up_says_why(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, refuse=True)
    with pytest.raises(BuildError, match=r"(?s)TensorRT 11.4.0.106 cannot build it:.*no kernel for Foo_3"):
        ensure_engine(plan_of(source), HERE)


def test_too_little_room_is_said_before_the_build(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    double = install(monkeypatch)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1))
    with pytest.raises(BuildError, match="0 MiB are free, building takes about"):
        ensure_engine(plan_of(source), HERE)
    assert double.calls == []


def test_a_disk_that_fills_up_while_writing_leaves_the_previous_engine(source: Path) -> None:
    engine = source.with_suffix(".engine")
    engine.write_bytes(b"previous")
    (record_path(engine)).mkdir()
    record = EngineRecord(key=key_of(plan_of(source), HERE), size=3, sha256="0" * 64)
    with pytest.raises(BuildError, match="cannot be written"):
        write_engine(engine, b"new", record)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        # TensorRT 10: words after a layout; names of bindings
        (
            {
                "Layers": [
                    {"LayerType": "CaskConvolution", "Outputs": [{"Format/Datatype": "Channel major FP16 format"}]},
                    {"LayerType": "Reformat", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]},
                    {"LayerType": "Softmax", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]},
                ],
                "Bindings": ["image", "logit"],
            },
            (1, 2, ("image", "logit")),
        ),
        # TensorRT 11: plain words; objects. Integers and bf16 are not Half
        (
            {
                "Layers": [
                    {"LayerType": "gemm", "Outputs": [{"Format/Datatype": "Half"}]},
                    {"LayerType": "kgen", "Outputs": [{"Format/Datatype": "BFloat16"}]},
                    {"LayerType": "kgen", "Outputs": [{"Format/Datatype": "Int64"}]},
                    "a layer of which only the name is told",
                ],
                "I/O Tensors": [{"Name": "image", "IOMode": "Input"}],
            },
            (1, 2, ("image",)),
        ),
    ],
    ids=["10", "11"],
)
def test_the_inspectors_text_is_read_in_both_versions(document: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = layer_share(json.dumps(document))
    assert (found.half, found.layers, found.tensors) == expected
    with pytest.raises(InspectError, match=r"x.engine: 1 of 2 layers \(50.0%\)"):
        check_share(found, 0.6, "x.engine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON", "not JSON"),
        # built without detailed verbosity: nothing is known, so nothing is allowed
        ('{"Layers": ["conv1", "conv2"]}', "none of 2 layers"),
        (
            '{"Layers": [{"LayerType": "x", "Outputs": [{"Format/Datatype": "N/A due to dynamic shapes"}]}]}',
            "none of 1",
        ),
    ],
)
def test_a_text_that_tells_no_precision_is_refused(text: str, message: str) -> None:
    with pytest.raises(InspectError, match=message):
        layer_share(text)


def test_the_key_names_all_that_an_engine_is_bound_to() -> None:
    key = EngineKey(**HERE.model_dump(), onnx="0" * 64, precision="fp16", batches=(1, 1, 1))
    assert key.foreign(HERE) == []
    other = Machine(gpu="A", compute="9.0", driver="1", tensorrt="10.12")
    assert [line.split(",")[0] for line in key.foreign(other)] == [
        "GPU Double 4090", "compute capability 8.9", "driver 580.65.06", "TensorRT 11.4.0.106",
    ]  # fmt: skip


def test_limits_come_from_params() -> None:
    assert TensorRTParams().min_half_share == 0.5
    with pytest.raises(ValueError, match="exclude"):
        TensorRTParams.model_validate({"exclude": ["everything"]})
