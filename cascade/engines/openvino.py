"""OpenVINO on the processor, in int8 or, where it has the instructions, in bf16."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from cascade.engines.base import Contract, EngineError, Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEVICE = "CPU"
# what does nearly all of the work, by OpenVINO's own names
HEAVY = {"FullyConnected", "MatMul", "Convolution"}
BYTES = {"i8", "u8"}
# of those operations that must run on bytes in a model that is said to be int8
MIN_INT8_SHARE = 0.5
# input channels that share a scale: of weights in bytes, and of activations that become bytes as they come
GROUP = 128


class OpenVinoEngine:
    """Two compiled models, for one picture and for any number, and a pool of infer requests for each.

    A request serves one thread at a time. One picture is what nearly all calls bring, and with fixed shapes OpenVINO
    plans and fuses more: a tenth of the time.
    """

    name = "openvino"

    def __init__(self, model: Path, contract: Contract, precision: Precision, threads: int) -> None:
        import openvino

        self.contract = contract
        try:
            core = openvino.Core()
            network, settings = core.read_model(model), compile_settings(core, precision, threads)
            _check(network, contract)
            many = core.compile_model(network, DEVICE, settings)
            network.reshape([1, *contract.input.shape[1:]])
            one = core.compile_model(network, DEVICE, settings)
        except RuntimeError as error:
            raise EngineError(f"{model}: OpenVINO cannot load it: {_first_line(error)}") from None
        self.precision: Precision = _precision_in_force(many)
        if precision == "int8":
            _check_int8(model, many)
            self.precision = "int8"
        self._pools = {batch: _Pool(compiled, contract.output.name) for batch, compiled in ((1, one), (None, many))}

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`; waits where all requests of the pool are taken."""
        self.contract.check_input(batch)
        try:
            logit = self._pools[1 if len(batch) == 1 else None](batch)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed: {_first_line(error)}") from None
        return self.contract.check_output(logit, len(batch))

    def close(self) -> None:
        """See `Engine.close`."""
        self._pools.clear()


class _Pool:
    """The infer requests of a compiled model."""

    def __init__(self, compiled: Any, output: str) -> None:
        self._output = compiled.output(output)
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(max(1, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))):
            self._requests.put(compiled.create_infer_request())

    def __call__(self, batch: NDArray[np.uint8]) -> Any:
        request = self._requests.get()
        try:
            # infer() copies its outputs unless told to share them, so the next caller cannot overwrite this one's
            return request.infer([batch])[self._output]
        finally:
            self._requests.put(request)


def compile_settings(core: Any, precision: Precision, threads: int) -> dict[str, object]:
    """How a network is compiled for one picture at a time.

    Bf16 only where the processor has it; in int8 it is for what stays float. Where weights are bytes with a scale a
    group, activations become bytes as they come, so many channels at a time.
    """
    has_bf16 = "BF16" in core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    settings: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision in ("bf16", "int8") and has_bf16 else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    return settings | ({"DYNAMIC_QUANTIZATION_GROUP_SIZE": str(GROUP)} if precision == "int8" else {})


def int8_share(compiled: Any) -> float:
    """Share of matrix products and convolutions that the compiled model runs on bytes, from its own account."""
    # constants carry the weights' type; the layer's own `runtimePrecision` says what its kernel multiplies
    about = [dict(node.get_rt_info()) for node in compiled.get_runtime_model().get_ops()]
    heavy = [one["runtimePrecision"].value for one in about if one["layerType"].value in HEAVY]
    return sum(kind in BYTES for kind in heavy) / max(1, len(heavy))


def _check_int8(model: Path, compiled: Any) -> None:
    share = int8_share(compiled)
    if share < MIN_INT8_SHARE:
        raise EngineError(
            f"{model}: said to be int8, but OpenVINO runs only {share:.0%} of its matrix products on bytes; "
            "`dvc repro export` quantizes it"
        )


def _precision_in_force(compiled: Any) -> Precision:
    kind = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return "bf16" if kind == "bf16" else "fp32"


def _check(network: Any, contract: Contract) -> None:
    if len(network.inputs) != 1:
        raise EngineError(f"expected a model of one input, got {len(network.inputs)}")
    source = network.input(0)
    dtype = {"u8": "uint8"}.get(source.get_element_type().get_type_name(), source.get_element_type().get_type_name())
    shape = tuple(None if axis.is_dynamic else axis.get_length() for axis in source.get_partial_shape())
    contract.check_model(dtype, shape, [name for output in network.outputs for name in output.get_names()])


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
