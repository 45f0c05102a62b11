"""AWQ checkpoints in this process: 4-bit weights are unpacked while they are read.

What the service loads is then the very checkpoint that was measured, also where no kernel for 4-bit weights is at hand;
memory is that of 16 bits. The layout is AutoAWQ's "gemm", which vLLM reads too: of every linear layer `qweight`
(in, out / 8) and `qzeros` (in / group, out / 8), int32 with eight values each in the order 0 2 4 6 1 3 5 7 from the
lowest bits up, and `scales` (in / group, out), float16 (awq/modules/linear/gemm.py and awq/utils/packing_utils.py of
AutoAWQ 0.2.9). A weight is (q - zero) * scale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.vlm.base import VlmError

if TYPE_CHECKING:
    import torch

BITS = 4
PER_WORD = 32 // BITS
# where the value of each output column lies in its word
PLACES = (0, 4, 1, 5, 2, 6, 3, 7)
PARTS = ("qweight", "qzeros", "scales")
WEIGHTS, INDEX, CONFIG, KEY = "model.safetensors", "model.safetensors.index.json", "config.json", "quantization_config"


def quantization(folder: Path) -> dict[str, Any] | None:
    """What config.json says of the checkpoint's quantization; None for a model in 16 or 32 bits.

    Raises:
        VlmError: config.json cannot be read, or names a form that is not unpacked here.
    """
    try:
        found: dict[str, Any] | None = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get(KEY)
    except (OSError, ValueError) as error:
        raise VlmError(f"{folder / CONFIG}: cannot be read: {error}") from None
    if found is None or found.get("quant_method") != "awq":
        return None
    if found.get("bits") != BITS or found.get("version", "gemm") != "gemm" or not found.get("zero_point"):
        raise VlmError(f"{folder / CONFIG}: only AWQ of 4 bits in version gemm with zero points is read, not {found}")
    return found


def shards(folder: Path) -> dict[str, list[str]]:
    """Names of the tensors in each safetensors file of a model.

    Raises:
        VlmError: a file is missing, or is cut short.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if (folder / INDEX).is_file():
            files = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        else:
            files = [WEIGHTS]
        found = {}
        for name in files:
            with safe_open(folder / name, framework="pt") as file:
                found[name] = list(file.keys())
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise VlmError(f"{folder}: not a whole model in safetensors: {error}") from None
    return found


def tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a checkpoint under the name that it has there, 4-bit ones unpacked to float32 weights.

    Raises:
        VlmError: see `quantization`, `shards` and `dequantize`; or one of a layer's three parts is missing.
    """
    from safetensors import safe_open

    settings = quantization(folder)
    waiting: dict[str, dict[str, torch.Tensor]] = {}
    for name, keys in shards(folder).items():
        with safe_open(folder / name, framework="pt") as file:
            for key in keys:
                layer, _, part = key.rpartition(".")
                if settings is None or part not in PARTS:
                    yield key, file.get_tensor(key)
                    continue
                parts = waiting.setdefault(layer, {})
                parts[part] = file.get_tensor(key)
                if len(parts) == len(PARTS):
                    yield f"{layer}.weight", _named(folder, layer, waiting.pop(layer), settings["group_size"])
    if waiting:
        layer, parts = next(iter(waiting.items()))
        raise VlmError(f"{folder}: {layer} has {', '.join(parts)} alone, of {', '.join(PARTS)}")


def _named(folder: Path, layer: str, parts: dict[str, torch.Tensor], group: int) -> torch.Tensor:
    try:
        return dequantize(parts["qweight"], parts["qzeros"], parts["scales"], group)
    except ValueError as error:
        raise VlmError(f"{folder}: {layer}: {error}") from None


def dequantize(qweight: torch.Tensor, qzeros: torch.Tensor, scales: torch.Tensor, group: int) -> torch.Tensor:
    """Unpack one layer.

    Args:
        qweight: int32 (in, out / 8).
        qzeros: int32 (in / group, out / 8).
        scales: float16 (in / group, out).
        group: input channels that share a scale.

    Returns:
        Weights as `torch.nn.Linear` has them, (out, in), float32.

    Raises:
        ValueError: shapes do not fit each other or the group, or a scale is no positive number.
    """
    import torch

    channels, columns = qweight.shape[0], qweight.shape[1] * PER_WORD
    if tuple(scales.shape) != (channels // group, columns) or qzeros.shape[0] != channels // group or channels % group:
        shapes = [tuple(part.shape) for part in (qweight, qzeros, scales)]
        raise ValueError(f"qweight, qzeros and scales of {shapes} do not fit groups of {group}")
    if not bool((torch.isfinite(scales) & (scales > 0)).all()):
        raise ValueError("a scale is zero, negative or no number")
    steps = (_values(qweight).view(-1, group, columns) - _values(qzeros).unsqueeze(1)).float()
    return (steps * scales.float().unsqueeze(1)).view(channels, columns).t().contiguous()


def _values(words: torch.Tensor) -> torch.Tensor:
    """Eight values a word, (rows, 8 * words), int32."""
    import torch

    shifts = torch.tensor([place * BITS for place in PLACES], dtype=torch.int32, device=words.device)
    return ((words.unsqueeze(-1) >> shifts) & ((1 << BITS) - 1)).view(words.shape[0], -1)


def load(folder: Path, dtype: torch.dtype) -> Any:
    """Load an AWQ checkpoint as the model that it was made of, its weights unpacked to `dtype`.

    Raises:
        VlmError: see `tensors`; or tensors are missing, or are not this model's.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # `transformers` would need a package of kernels
    del config.quantization_config
    kind = getattr(transformers, (config.architectures or [""])[0], None)
    if kind is None:
        raise VlmError(f"{folder / CONFIG}: architectures {config.architectures} are none that transformers knows")
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in tensors(folder)}
    model, info = kind.from_pretrained(None, config=config, state_dict=state, dtype=dtype, output_loading_info=True)
    wrong = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if wrong := [name for name in wrong if name not in tied]:
        raise VlmError(f"{folder}: {len(wrong)} tensors are missing or too many, {wrong[0]} the first of them")
    return model
