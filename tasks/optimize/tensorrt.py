"""Build a TensorRT engine, strongly typed: one path for TensorRT 10.12 to 11, since precision lives in the graph.

An engine is bound to its machine. If the engine that is there was built from this graph on this machine, it stays; if
not, it is built, and engine and record are written in one step each, the record last.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cascade.engines.base import EngineError
from cascade.engines.key import (
    EngineKey,
    EngineRecord,
    Machine,
    digest,
    read_engine,
    read_record,
    record_path,
    require_tensorrt,
    this_machine,
)
from tasks.common.files import sha256, write_bytes, write_json
from tasks.config.tensorrt import TensorRTParams
from tasks.optimize.tensorrt_callbacks import error_logger, progress_monitor

if TYPE_CHECKING:
    import tensorrt as trt

MIB = 1 << 20
# free disk, times the graph's size: the engine's weights, the file being written, and the timing cache
SPACE = 3
CACHES = Path("var/tensorrt")


class BuildError(ValueError):
    """TensorRT cannot build this graph, or the disk is full; the previous engine stays."""


@dataclass(frozen=True)
class BuildPlan:
    """What to build.

    Attributes:
        onnx: the graph, in the precision that is asked for.
        engine: where the engine goes.
        batches: minimum, optimum and maximum of images a call.
        precision: of the graph; fp16 is checked before and after.
        params: of the builder.
        caches: folder of the timing caches, one for each GPU and TensorRT version.
    """

    onnx: Path
    engine: Path
    batches: tuple[int, int, int]
    precision: Literal["fp16", "fp32"]
    params: TensorRTParams = field(default_factory=TensorRTParams)
    caches: Path = CACHES


def key_of(plan: BuildPlan, machine: Machine) -> EngineKey:
    """Give the key of a plan's engine on a machine."""
    return EngineKey(**machine.model_dump(), onnx=digest(plan.onnx), precision=plan.precision, batches=plan.batches)


def usable(plan: BuildPlan, machine: Machine) -> bool:
    """Tell whether a plan's engine exists, is undamaged, and was built from this graph on this machine."""
    try:
        record = read_record(plan.engine)
        read_engine(plan.engine, record)
    except EngineError:
        return False
    return record.key == key_of(plan, machine)


def ensure_engine(plan: BuildPlan, machine: Machine | None = None) -> EngineRecord:
    """Build the engine of a plan unless it is usable; one of another machine is built again and never loaded.

    Raises:
        EngineError: no GPU or no TensorRT.
        BuildError: the graph cannot be built, or the disk is full.
        tasks.optimize.half.HalfError: the graph is labelled FP16 and is not.
    """
    machine = machine or this_machine()
    if usable(plan, machine):
        return read_record(plan.engine)
    if plan.precision == "fp16":
        _check_graph(plan)
    _check_space(plan)
    data = build(plan, machine)
    record = EngineRecord(key=key_of(plan, machine), size=len(data), sha256=sha256(data))
    write_engine(plan.engine, data, record)
    return record


def write_engine(engine: Path, data: bytes, record: EngineRecord) -> None:
    """Replace an engine and its record; a run that is killed between them leaves a pair that `usable` refuses.

    Raises:
        BuildError: the disk is full.
    """
    try:
        write_bytes(engine, data)
        write_json(record_path(engine), record.model_dump(mode="json"))
    except OSError as error:
        engine.with_name(f".{engine.name}.partial").unlink(missing_ok=True)
        raise BuildError(f"{engine}: cannot be written: {error}; the previous engine stays") from None


def _check_graph(plan: BuildPlan) -> None:
    import onnx

    from tasks.optimize.half import check_half

    check_half(onnx.load(plan.onnx), plan.onnx.name, plan.params.min_half_share)


def _check_space(plan: BuildPlan) -> None:
    plan.engine.parent.mkdir(parents=True, exist_ok=True)
    needed, free = SPACE * plan.onnx.stat().st_size, shutil.disk_usage(plan.engine.parent).free
    if free < needed:
        raise BuildError(
            f"{plan.engine.parent}: {free // MIB} MiB are free, building takes about {needed // MIB} MiB; "
            "make room first, a build takes minutes"
        )


def build(plan: BuildPlan, machine: Machine) -> bytes:
    """Build an engine and give its bytes; the timing cache is read before and written after.

    Raises:
        BuildError: the parser or the builder refuses, with what they said.
    """
    require_tensorrt()
    import tensorrt

    logger = error_logger()
    builder: trt.Builder = tensorrt.Builder(logger)
    # the flag is needed on 10.x; from 11 on every network is strongly typed and the flag is accepted
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    # kept until the engine is built: it holds the weights that the network points to
    parser = _parse(network, logger, plan.onnx)
    config = builder.create_builder_config()
    cache = plan.caches / f"{machine.gpu}-{machine.compute}-{machine.tensorrt}.cache".replace(" ", "_")
    # kept until the engine is built: the library has bare pointers to them
    held = _configure(config, plan.params, cache)
    _add_profile(builder, network, config, plan.batches)
    serialized = builder.build_serialized_network(network, config)
    del parser, held
    if serialized is None:
        raise BuildError(f"{plan.onnx}: TensorRT {machine.tensorrt} cannot build it:\n{_lines(logger.errors)}")
    timings = config.get_timing_cache()
    if timings is not None:
        write_bytes(cache, bytes(timings.serialize()))
    return bytes(serialized)


def _parse(network: trt.INetworkDefinition, logger: Any, onnx: Path) -> trt.OnnxParser:
    import tensorrt

    parser: trt.OnnxParser = tensorrt.OnnxParser(network, logger)
    if parser.parse_from_file(str(onnx)):
        return parser
    errors = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
    raise BuildError(
        f"{onnx}: TensorRT {tensorrt.__version__} cannot parse it:\n{_lines(errors)}\nExport it with other operators, "
        "or choose another engine"
    )


def _parser_error(error: trt.ParserError) -> str:
    return f"node {error.node_name()!r} ({error.node_operator()}): {error.desc()}"


def _lines(errors: Sequence[str]) -> str:
    return "\n".join(f"  {line}" for line in errors[:20]) or "  it gave no reason"


def _configure(config: trt.IBuilderConfig, params: TensorRTParams, cache: Path) -> list[Any]:
    """Set all but the profile, and give the objects that must live until the engine is built."""
    import tensorrt

    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, params.workspace_mib * MIB)
    config.builder_optimization_level = params.optimization_level
    # without it the inspector does not tell the precision of a layer
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    # parts are excluded from FP16 for their precision: TF32 would leave them 10 bits (RT-DETR issue 227)
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    monitor = progress_monitor()
    config.progress_monitor = monitor
    known = cache.read_bytes() if cache.is_file() else b""
    # a cache of another version is refused: start an empty one
    timings = config.create_timing_cache(known)
    if not config.set_timing_cache(timings, False):
        timings = config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)
    return [monitor, timings]


def _add_profile(
    builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig, batches: tuple[int, int, int]
) -> None:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        sides = tuple(tensor.shape)[1:]
        if any(side < 0 for side in sides):
            raise BuildError(f"input {tensor.name} of shape {tuple(tensor.shape)}: only the batch may be dynamic")
        least, best, most = ((batch, *sides) for batch in batches)
        profile.set_shape(tensor.name, least, best, most)
    if config.add_optimization_profile(profile) < 0:
        raise BuildError(f"TensorRT refuses the batches {batches}; see its log")
