"""Names of a language tower's tensors in a checkpoint.

The quantized checkpoint keeps the names and files of its source, fused layers included: then whatever reads the
source, transformers or vLLM, reads it as well. Molmo2 is published under the names of its own code, in which query, key
and value are one tensor; transformers takes it apart while it loads.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LAYER = re.compile(
    r"^(?P<prefix>.*?(?:language_model\.(?:model\.)?layers|transformer\.blocks)\.(?P<number>\d+)\.)"
    r"(?P<name>.+)\.(?P<kind>weight|bias)$"
)
# tensors of the published Molmo2 and the modules of transformers that their rows belong to, from the first row down
FUSED = {
    "self_attn.att_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.attn_out": ("self_attn.o_proj",),
    "mlp.ff_proj": ("mlp.up_proj", "mlp.gate_proj"),
    "mlp.ff_out": ("mlp.down_proj",),
    "attn_norm": ("input_layernorm",),
    "ff_norm": ("post_attention_layernorm",),
}


class TensorPlace(NamedTuple):
    """Where a tensor belongs.

    Attributes:
        prefix: of the checkpoint's name, up to the layer's number and a dot.
        number: of the layer.
        name: inside the layer, as the checkpoint has it.
        modules: names in transformers of what it holds, in the order of its rows.
        kind: weight or bias.
    """

    prefix: str
    number: int
    name: str
    modules: tuple[str, ...]
    kind: str


def place(tensor: str) -> TensorPlace | None:
    """Where a tensor of the checkpoint belongs; None outside of the language tower's layers."""
    found = LAYER.match(tensor)
    if found is None:
        return None
    name = found["name"]
    return TensorPlace(found["prefix"], int(found["number"]), name, FUSED.get(name, (name,)), found["kind"])
