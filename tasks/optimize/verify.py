"""An engine proves itself before it is kept: what it is made of, how near it is to torch, how well it does the task.

`export_engine` is the whole way, from the FP32 graph to a proven engine beside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cascade.engines.key import EngineRecord, Machine, read_record, record_path, this_machine
from cascade.engines.tensorrt import TensorRTSession, engine_file
from tasks.common.files import write_bytes, write_json
from tasks.config.tensorrt import TensorRTParams
from tasks.optimize.cast import prepare
from tasks.optimize.half import write_half
from tasks.optimize.inspect import check_share, layer_share
from tasks.optimize.parity import ParityLimits, ParityReport, compare, run_all
from tasks.optimize.tensorrt import CACHES, BuildPlan, ensure_engine, usable

if TYPE_CHECKING:
    import tensorrt as trt


class VerificationError(ValueError):
    """An engine was built, and its answers are not good enough to be kept."""


@dataclass(frozen=True)
class EngineRequest:
    """The engine that is wanted.

    Attributes:
        onnx: the FP32 graph; the engine goes beside it.
        precision: of the graph that is made of it first: `<name>.fp16.onnx` or `<name>.fp32.onnx`.
        batches: minimum, optimum and maximum of pictures a call.
        limits: what it must keep.
        params: of the builder.
        caches: folder of the timing caches.
    """

    onnx: Path
    precision: Literal["fp16", "fp32"]
    batches: tuple[int, int, int]
    limits: ParityLimits
    params: TensorRTParams = field(default_factory=TensorRTParams)
    caches: Path = CACHES


def export_engine(
    wish: EngineRequest, proof: ParityReport, machine: Machine | None = None, device: str = "cuda"
) -> dict[str, Any]:
    """Build and prove an engine.

    Args:
        wish: what is wanted.
        proof: pictures, torch's answers in FP32 and the task's metric.
        machine: where we are; asked where not said.
        device: see `TensorRTSession`.

    Returns:
        The engine's report: key, size, share of Half layers, parity, metric, and what FP16 left in FP32.

    Raises:
        EngineError, BuildError, HalfError, InspectError, VerificationError: say which limit or step failed; the engine
            that was there before stays.
    """
    machine = machine or this_machine()
    graph, made = _graph(wish, proof)
    plan = BuildPlan(graph, engine_file(wish.onnx), wish.batches, wish.precision, wish.params, wish.caches)
    if usable(plan, machine):
        record, found = read_record(plan.engine), verify(plan.engine, wish, proof, machine, device)
    else:
        record, found = _replace(plan, wish, proof, machine, device)
    return {"key": record.key.model_dump(mode="json"), "bytes": record.size, "graph": made, **found}


def _graph(wish: EngineRequest, proof: ParityReport) -> tuple[Path, dict[str, Any]]:
    """Write the graph that is built from, in the precision that is wanted, and say how it came about."""
    import onnx

    target = wish.onnx.with_name(f"{wish.onnx.stem}.{wish.precision}.onnx")
    if wish.precision == "fp16":
        return target, write_half(wish.onnx, target, proof, wish.limits, start=wish.params.keep_in_fp32).row()
    write_bytes(target, prepare(onnx.load(wish.onnx)).SerializeToString())
    return target, {}


def _replace(
    plan: BuildPlan, wish: EngineRequest, proof: ParityReport, machine: Machine, device: str
) -> tuple[EngineRecord, dict[str, Any]]:
    """Build and prove beside the engine that is there, and only then take its place."""
    pending = plan.engine.with_name(f"pending_{plan.engine.name}")
    try:
        record = ensure_engine(replace(plan, engine=pending), machine)
        found = verify(pending, wish, proof, machine, device)
        record = record.model_copy(update={"verification": found})
        pending.replace(plan.engine)
        write_json(record_path(plan.engine), record.model_dump(mode="json"))
    finally:
        pending.unlink(missing_ok=True)
        record_path(pending).unlink(missing_ok=True)
    return record, found


def verify(
    engine: Path, wish: EngineRequest, proof: ParityReport, machine: Machine, device: str = "cuda"
) -> dict[str, Any]:
    """Measure an engine, the very file that will be served.

    Raises:
        InspectError: FP16 was asked for, and the engine is something else.
        VerificationError: a limit of parity or metric is broken.
    """
    with contextlib.closing(TensorRTSession(engine, machine, device)) as session:
        share = layer_share(inspect_text(session.engine, session.input.name, proof.pictures[:1].shape))
        if wish.precision == "fp16":
            check_share(share, wish.limits.half_share, engine.name)
        answers = run_all(session.run, proof.pictures, min(wish.batches[2], len(proof.pictures)))
    parity = compare(proof.reference, answers)
    faults = parity.faults(wish.limits)
    metric = _metric(proof, answers, wish.limits, faults)
    if faults:
        raise VerificationError(
            f"{engine.name} ({wish.precision}) on {machine.gpu} with TensorRT {machine.tensorrt} is not as good as "
            f"torch: {'; '.join(faults)}. It is not kept. Name parts in export.tensorrt.keep_in_fp32, or set "
            "export.precision: fp32"
        )
    return {
        "half_layers": {"share": share.share, "half": share.half, "layers": share.layers},
        "parity": parity.row(),
        "metric": metric,
    }


def _metric(proof: ParityReport, answers: Mapping[str, Any], limits: ParityLimits, faults: list[str]) -> dict[str, Any]:
    """Measure the task on both, and add a fault where the engine lost too much."""
    if proof.metric is None:
        return {}
    here, there = proof.metric(proof.reference), proof.metric(answers)
    if not here - there <= limits.metric_drop:
        faults.append(f"{proof.metric_name} fell from {here:.4f} to {there:.4f}, {limits.metric_drop} is allowed")
    return {"name": proof.metric_name, "torch": round(here, 6), "engine": round(there, 6)}


def inspect_text(engine: trt.ICudaEngine, source: str, shape: tuple[int, ...]) -> str:
    """Ask the engine inspector about all layers, with a shape set: dynamic ones hide formats."""
    import tensorrt

    context = engine.create_execution_context()
    context.set_input_shape(source, tuple(shape))
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return str(inspector.get_engine_information(tensorrt.LayerInformationFormat.JSON))
