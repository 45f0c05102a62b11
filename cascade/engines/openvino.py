"""OpenVINO on the processor, in int8 or, where the processor has the instructions, in bf16."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.engines.base import Device, EngineError, Kind, ModelInput, Precision
from cascade.engines.pool import Pool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEVICE = "CPU"
DTYPES = {"u8": "uint8", "f32": "float32"}
# OpenVINO's names of the layers that do nearly all of the work, and of the types that make a layer int8
HEAVY = {"FullyConnected", "MatMul", "Convolution"}
BYTES = {"i8", "u8"}
# share of these layers that must run on bytes before a model counts as int8
MIN_INT8_SHARE = 0.5
# input channels that share a scale: of int8 weights, and of activations that are quantized at run time
GROUP = 128


class OpenVinoSession:
    """See `Session`: a compiled model with a pool of infer requests, since a request serves one thread at a time.

    Args:
        model: ONNX, quantized where the precision is int8.
        precision: asked for; see `compile_settings`.
        threads: processor threads of one inference.
        fixed_one: whether the model is compiled a second time for exactly one image. With fixed shapes OpenVINO plans
            and fuses more, for twice the memory and time to load. It saves 10 % of a call of the classifier, where
            nearly all calls bring one image; of the detectors' work it saves 2 % (docs/engines.md), so they go without.

    Raises:
        EngineError: the file cannot be loaded, or it has more than one input.
    """

    kind: Kind = "openvino"
    device: Device = "cpu"
    batches: tuple[int, int] | None = None

    def __init__(self, model: Path, precision: Precision, threads: int, *, fixed_one: bool = False) -> None:
        import openvino

        self.file = model
        try:
            core = openvino.Core()
            network, settings = core.read_model(model), compile_settings(core, precision, threads)
            self.input = _input(model, network)
            compiled = core.compile_model(network, DEVICE, settings)
            self._any = Requests(compiled)
            self._one = Requests(_for_one(core, network, settings)) if fixed_one else self._any
        except RuntimeError as error:
            raise EngineError(f"{model}: openvino cannot load it: {_last_line(error)}") from None
        self.outputs = self._any.names
        self.int8_share = int8_share(compiled) if precision == "int8" else None
        self.precision = _precision_in_force(compiled, self.int8_share)

    def run(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """See `Session.run`; waits while all infer requests are taken."""
        self.input.check(batch, self.file)
        requests = self._one if len(batch) == 1 else self._any
        try:
            return requests.infer(batch)
        except RuntimeError as error:
            raise EngineError(f"{self.file}: openvino failed: {_last_line(error)}") from None

    def close(self) -> None:
        """See `Session.close`."""
        del self._one, self._any


class Requests:
    """The infer requests of a compiled model, as many as OpenVINO recommends.

    Attributes:
        names: of all outputs; a tensor may have several.
    """

    def __init__(self, compiled: Any) -> None:
        self._ports = {name: port for port in compiled.outputs for name in sorted(port.names)}
        self.names = tuple(self._ports)
        count = max(1, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._pool = Pool(compiled.create_infer_request() for _ in range(count))

    def infer(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Compute all outputs of a batch, by name."""
        with self._pool.borrow() as request:
            # infer() copies its outputs unless told to share them, so the next caller cannot overwrite this one's
            answer = request.infer([batch])
        return {name: answer[port] for name, port in self._ports.items()}


def compile_settings(core: Any, precision: Precision, threads: int) -> dict[str, object]:
    """Give OpenVINO's settings for the latency of one call.

    Bf16 is set where the processor has it, in int8 too: for the layers that stay floating-point. In int8, activations
    that meet weights with a scale a group are quantized at run time, `GROUP` channels at a time. Threads are not
    pinned: each process would pin its own to the first cores, and two of them share one while others are idle.
    """
    has_bf16 = "BF16" in core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    settings: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision in ("bf16", "int8") and has_bf16 else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "PERFORMANCE_HINT": "LATENCY",
    }
    return settings | ({"DYNAMIC_QUANTIZATION_GROUP_SIZE": str(GROUP)} if precision == "int8" else {})


def int8_share(compiled: Any) -> float:
    """Share of matrix products and convolutions that a compiled model runs on bytes, by its own account."""
    # constants carry the weights' type; the layer's own `runtimePrecision` says what its kernel multiplies
    layers = [dict(node.get_rt_info()) for node in compiled.get_runtime_model().get_ops()]
    heavy = [one["runtimePrecision"].value for one in layers if one["layerType"].value in HEAVY]
    return sum(kind in BYTES for kind in heavy) / max(1, len(heavy))


def _precision_in_force(compiled: Any, share: float | None) -> Precision:
    if share is not None and share >= MIN_INT8_SHARE:
        return "int8"
    kind = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return "bf16" if kind == "bf16" else "fp32"


def _for_one(core: Any, network: Any, settings: dict[str, object]) -> Any:
    """Compile a network for one image; its shape is changed in place."""
    network.reshape([1, *list(network.input(0).get_partial_shape())[1:]])
    return core.compile_model(network, DEVICE, settings)


def _input(model: Path, network: Any) -> ModelInput:
    if len(network.inputs) != 1:
        raise EngineError(f"{model}: takes {[item.any_name for item in network.inputs]}; expected one input")
    source = network.input(0)
    dtype = source.get_element_type().get_type_name()
    shape = tuple(None if axis.is_dynamic else axis.get_length() for axis in source.get_partial_shape())
    return ModelInput(source.any_name, DTYPES.get(dtype, dtype), shape)


def _last_line(error: Exception) -> str:
    """OpenVINO puts where it failed first, and why last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
