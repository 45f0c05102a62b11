"""Torch on the processor: the operators of the ONNX file that the other engines load too, one after the other, in fp32.

It is slower than the others, and it is there wherever training was. It needs no second file, no pickle, and no code
from outside. On a graphics card the same operators run as CUDA graphs: `torch_cuda.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.engines.base import Device, EngineError, Kind, Precision
from cascade.engines.onnx_graph import last_uses, read_graph
from cascade.extras import MissingExtraError, require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TorchSession:
    """See `Session`: the graph is walked at every call; calls share nothing but constants.

    Args:
        model: ONNX, in fp32.
        threads: processor threads of torch, for the whole process.

    Raises:
        EngineError: the file cannot be loaded, has more than one input, or an operator that is not in `operators.py`.
    """

    kind: Kind = "torch"
    device: Device = "cpu"
    precision: Precision = "fp32"
    int8_share: float | None = None
    batches: tuple[int, int] | None = None

    def __init__(self, model: Path, threads: int) -> None:
        require_torch("torch")
        import torch

        from cascade.engines.operators import OPERATORS

        torch.set_num_threads(threads)
        graph = read_graph(model, OPERATORS)
        self.file, self.input, self.outputs, self._weights = model, graph.input, graph.outputs, graph.weights
        self._steps = [(OPERATORS[node.op], node.inputs, node.outputs, node.attributes) for node in graph.nodes]
        self._last = last_uses(graph.nodes, graph.outputs)

    def run(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """See `Session.run`."""
        import numpy as np
        import torch

        self.input.check(batch, self.file)
        values: dict[str, Any] = {**self._weights, self.input.name: torch.from_numpy(np.ascontiguousarray(batch))}
        try:
            with torch.inference_mode():
                for number in range(len(self._steps)):
                    self._step(number, values)
        except (RuntimeError, TypeError, KeyError, IndexError) as error:
            raise EngineError(f"{self.file}: torch failed: {error}") from None
        return {name: values[name].numpy() for name in self.outputs}

    def _step(self, number: int, values: dict[str, Any]) -> None:
        """Run one node on the values known so far, add its outputs, and drop what no later node needs."""
        operator, inputs, outputs, attributes = self._steps[number]
        found = operator(*(values[name] if name else None for name in inputs), **attributes)
        values.update(zip(outputs, found if isinstance(found, tuple) else (found,), strict=False))
        for name in self._last.get(number, ()):
            del values[name]

    def close(self) -> None:
        """See `Session.close`."""
        self._weights.clear()
        self._steps.clear()


def require_torch(kind: Kind) -> None:
    """Refuse to go on without the libraries of both of torch's engines.

    Raises:
        EngineError: names the extra.
    """
    try:
        require(f"export.engine {kind}", "torch", "onnx")
    except MissingExtraError as error:
        raise EngineError(str(error)) from None
