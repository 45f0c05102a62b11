"""Compare the weights of a quantized checkpoint with its source's, group by group, without running either.

AWQ moves a scale from each channel into the layer before, so the source's weights are scaled in the same way before
they are compared: what is left is rounding. An error in one group of 64 weights of millions hardly shows in what a
model answers; here it does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.vlm import awq
from tasks.awq.backend import QuantizeError
from tasks.awq.layout import TensorPlace, place

if TYPE_CHECKING:
    import torch

    Layers = dict[int, dict[str, torch.Tensor]]

# the layer before, by the name of the layer after; names of transformers, then of the published Molmo2
NORMS = {
    r"self_attn\.([qkv]|att)_proj": ("input_layernorm", "attn_norm"),
    r"mlp\.(gate|up|gate_up|ff)_proj": ("post_attention_layernorm", "ff_norm"),
}
# ... and of those after a linear layer: which of its rows, by halves, are the channels
LINEARS = {"mlp.down_proj": (("mlp.up_proj", None), ("mlp.gate_up_proj", 1)), "mlp.ff_out": (("mlp.ff_proj", 0),)}
# a weight of which so little is there is noise
LEAST = 1e-12


def group_errors(source: Path, quantized: Path, group: int) -> dict[str, float]:
    """Relative error of each group of weights of one output, `|W' - W| / |W|`.

    Args:
        source: the model in 16 or 32 bits.
        quantized: its AWQ checkpoint.
        group: input channels that share a scale.

    Returns:
        `worst` and `mean`.

    Raises:
        QuantizeError: a layer is missing in one of the two.
        VlmError: the checkpoint cannot be read.
    """
    first, second = _layers(source), _layers(quantized)
    if first.keys() != second.keys() or not first:
        raise QuantizeError(f"{quantized}: {len(second)} layers, its source has {len(first)}")
    worst, total, count = 0.0, 0.0, 0
    for number in sorted(first):
        given, rest = ({name: value.float() for name, value in side[number].items()} for side in (first, second))
        for name in sorted(given):
            if given[name].dim() != 2:
                continue
            found = _errors(given, rest, name, group)
            worst, total, count = max(worst, float(found.max())), total + float(found.sum()), count + found.numel()
    return {"worst": round(worst, 6), "mean": round(total / count, 6)}


def _layers(folder: Path) -> Layers:
    found: Layers = defaultdict(dict)
    for name, value in awq.tensors(folder):
        where: TensorPlace | None = place(name)
        if where is not None and where.kind == "weight":
            # both models lie in memory here
            found[where.number][where.name] = value.bfloat16()
    return found


def _errors(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], name: str, group: int) -> torch.Tensor:
    """Of one linear layer, (out, in / group)."""
    import torch

    if name not in second or second[name].shape != first[name].shape:
        raise QuantizeError(f"{name} is missing, or has another shape than in the source")
    given, rest = first[name] * _scale(first, second, name), second[name]
    # rows that were scaled against the next layer: each by what fits it best
    if any(name == before for befores in LINEARS.values() for before, _ in befores):
        rest = rest * _fit(given, rest).unsqueeze(1)
    pieces = given.view(given.shape[0], -1, group)
    error = (rest.view_as(pieces) - pieces).square().sum(dim=2)
    # what is small in a row is noise next to the rest of it
    size = torch.maximum(pieces.square().sum(dim=2), given.square().mean(dim=1, keepdim=True) * group / 4)
    return (error / size.clamp(min=LEAST)).sqrt()


def _scale(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """By what each input channel was multiplied, (in,) or one for all: what the layer before was divided by."""
    import torch

    for pattern, norms in NORMS.items():
        for norm in norms:
            if re.fullmatch(pattern, name) and norm in first:
                before, after = first[norm], second[norm]
                return torch.where(after.abs() > LEAST, before / after, before.new_ones(()))
    for before_name, half in LINEARS.get(name, ()):
        if before_name in first:
            scaled = first[before_name] * _scale(first, second, before_name)
            return _fit(_half(scaled, half), _half(second[before_name], half))
    return first[name].new_ones(())


def _half(weight: torch.Tensor, half: int | None) -> torch.Tensor:
    return weight if half is None else weight.chunk(2)[half]


def _fit(given: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """By what each row of `found` is multiplied to be nearest to that of `given`, (rows,)."""
    return (given * found).sum(dim=1) / found.square().sum(dim=1).clamp(min=LEAST)
