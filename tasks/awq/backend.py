"""AWQ in 4 bits (Lin et al. 2024, arXiv 2306.00978) behind one small interface.

A backend finds scales for the channels of a language tower's layers and gives those layers back, scaled but not yet
rounded; packing, writing, reading and comparing are ours and the same for every backend. So a checkpoint has one form,
AutoAWQ's "gemm", whichever tool searched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from tasks.config import QuantizeParams

Encoded = dict[str, Any]
Layer = tuple[int, "dict[str, torch.Tensor]"]


class QuantizeError(RuntimeError):
    """The VLM cannot be quantized; the message names the key, file or layer, and what to do."""


class Backend(Protocol):
    """A tool that searches scales."""

    def __call__(self, source: Path, samples: list[Encoded], params: QuantizeParams) -> Iterator[Layer]:
        """Give every layer of the language tower in its order: its number, and its tensors by name, on any device.

        Args:
            source: folder of the model in 16 or 32 bits; it is not written to.
            samples: inputs of the model, as its processor gives them, one sample each.
            params: group size, grid and clipping.

        Raises:
            QuantizeError: the architecture is not known, or the tool fails.
        """
        ...
