"""A TensorRT engine is verified before it is kept: precision of its layers, parity with torch, the task's metric.

`export_engine` is the whole of it, from the FP32 graph to a verified engine beside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cascade.engines.base import Device
from cascade.engines.key import EngineRecord, Machine, read_record, record_path, this_machine
from cascade.engines.tensorrt import TensorRTSession, engine_file
from tasks.common.files import write_bytes, write_json
from tasks.config.tensorrt import TensorRTParams
from tasks.optimize.cast import prepare
from tasks.optimize.engine_layers import check_share, layer_share
from tasks.optimize.half import write_half
from tasks.optimize.parity import ParityLimits, ParityReference, compare, run_all
from tasks.optimize.tensorrt import CACHES, BuildPlan, ensure_engine, usable

if TYPE_CHECKING:
    import tensorrt as trt


class VerificationError(ValueError):
    """An engine was built, and its outputs are not good enough for it to be kept."""


@dataclass(frozen=True)
class EngineRequest:
    """The engine that is asked for.

    Attributes:
        onnx: the FP32 graph; the engine goes beside it.
        precision: of the graph that is made of it first: `<name>.fp16.onnx` or `<name>.fp32.onnx`.
        batches: minimum, optimum and maximum of images a call.
        limits: that the engine must keep.
        params: of the builder and the FP16 graph.
        caches: folder of the timing caches.
    """

    onnx: Path
    precision: Literal["fp16", "fp32"]
    batches: tuple[int, int, int]
    limits: ParityLimits
    params: TensorRTParams = field(default_factory=TensorRTParams)
    caches: Path = CACHES


def export_engine(
    request: EngineRequest, reference: ParityReference, machine: Machine | None = None, device: Device = "cuda"
) -> dict[str, Any]:
    """Build and verify an engine.

    Args:
        request: what is asked for.
        reference: images, torch's outputs in FP32 and the task's metric.
        machine: this one; read from the system by default.
        device: see `TensorRTSession`.

    Returns:
        The engine's report: key, size, share of FP16 layers, parity, metric, and how its graph was found.

    Raises:
        EngineError, BuildError, HalfError, InspectError, VerificationError: name the limit or step that failed; the
            previous engine stays.
    """
    machine = machine or this_machine()
    graph, made = _graph(request, reference)
    plan = BuildPlan(
        graph, engine_file(request.onnx), request.batches, request.precision, request.params, request.caches
    )
    if usable(plan, machine):
        record, found = read_record(plan.engine), verify(plan.engine, request, reference, machine, device)
    else:
        record, found = _replace(plan, request, reference, machine, device)
    return {"key": record.key.model_dump(mode="json"), "bytes": record.size, "graph": made, **found}


def _graph(request: EngineRequest, reference: ParityReference) -> tuple[Path, dict[str, Any]]:
    """Write the graph in the precision that is asked for; gives its path and how it was found."""
    import onnx

    target = request.onnx.with_name(f"{request.onnx.stem}.{request.precision}.onnx")
    if request.precision == "fp16":
        return target, write_half(request.onnx, target, reference, request.limits, request.params).row()
    write_bytes(target, prepare(onnx.load(request.onnx)).SerializeToString())
    return target, {}


def _replace(
    plan: BuildPlan, request: EngineRequest, reference: ParityReference, machine: Machine, device: Device
) -> tuple[EngineRecord, dict[str, Any]]:
    """Build and verify an engine beside the previous one, and only then take its place."""
    pending = plan.engine.with_name(f"pending_{plan.engine.name}")
    try:
        record = ensure_engine(replace(plan, engine=pending), machine)
        found = verify(pending, request, reference, machine, device)
        record = record.model_copy(update={"verification": found})
        pending.replace(plan.engine)
        write_json(record_path(plan.engine), record.model_dump(mode="json"))
    finally:
        pending.unlink(missing_ok=True)
        record_path(pending).unlink(missing_ok=True)
    return record, found


def verify(
    engine: Path, request: EngineRequest, reference: ParityReference, machine: Machine, device: Device = "cuda"
) -> dict[str, Any]:
    """Measure an engine, the very file that will be served.

    Raises:
        InspectError: FP16 was asked for, and the engine is FP32.
        VerificationError: a limit of parity or metric is broken.
    """
    images, limits = reference.images, request.limits
    with contextlib.closing(TensorRTSession(engine, machine, device)) as session:
        share = layer_share(inspect_text(session.engine, session.input.name, images[:1].shape))
        if request.precision == "fp16":
            check_share(share, limits.half_share, engine.name)
        outputs = run_all(session.run, images, min(request.batches[2], len(images)))
    words = f"{engine.name} ({request.precision}) on {machine.gpu} with TensorRT {machine.tensorrt}"
    layers = {"share": share.share, "half": share.half, "layers": share.layers}
    return {"half_layers": layers, **judge(words, reference, outputs, limits)}


def judge(engine: str, reference: ParityReference, outputs: Mapping[str, Any], limits: ParityLimits) -> dict[str, Any]:
    """Hold an engine's outputs against torch's.

    Args:
        engine: for the message: its file, precision and machine.
        reference: torch's outputs in FP32, and the task's metric.
        outputs: the engine's, for the same images.
        limits: that it must keep.

    Returns:
        `parity` and `metric`.

    Raises:
        VerificationError: a limit is broken.
    """
    parity = compare(reference.outputs, outputs, limits)
    metric, faults = _metric(reference, outputs, limits)
    if faults := [*parity.faults(limits), *faults]:
        raise VerificationError(
            f"{engine} is not as good as torch: {'; '.join(faults)}. It is not kept. Name parts in "
            "export.tensorrt.exclude, or set the precision to fp32"
        )
    return {"parity": parity.row(), "metric": metric}


def _metric(
    reference: ParityReference, outputs: Mapping[str, Any], limits: ParityLimits
) -> tuple[dict[str, Any], list[str]]:
    """Measure the task on torch's and the engine's outputs; gives both, and a fault where the engine lost too much."""
    if reference.metric is None:
        return {}, []
    name, before, now = reference.metric_name, reference.metric(reference.outputs), reference.metric(outputs)
    faults = [f"{name} fell from {before:.4f} to {now:.4f}, {limits.metric_drop} is allowed"]
    return {"name": name, "torch": round(before, 6), "engine": round(now, 6)}, (
        [] if before - now <= limits.metric_drop else faults
    )


def inspect_text(engine: trt.ICudaEngine, source: str, shape: tuple[int, ...]) -> str:
    """Ask the engine inspector about all layers.

    Args:
        engine: deserialized.
        source: name of its input.
        shape: of the input; with dynamic shapes the inspector hides formats.
    """
    import tensorrt

    context = engine.create_execution_context()
    context.set_input_shape(source, tuple(shape))
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return str(inspector.get_engine_information(tensorrt.LayerInformationFormat.JSON))
