"""Model classes on AutoAWQ's seam, `BaseAWQForCausalLM`: where the layers are, and what may be scaled against what.

AutoAWQ is imported at the top, so this module is imported only where it is used. Its own LLaVA class takes the
layers from where transformers 4 had them; GLM-4.6V and Molmo2 it does not know.
"""

from __future__ import annotations

from typing import Any, ClassVar

from awq.models.base import BaseAWQForCausalLM
from torch import nn

from tasks.awq.backend import QuantizeError

ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


class LanguageTower(BaseAWQForCausalLM):  # type: ignore[misc]  # AutoAWQ has no types
    """A vision-language model whose decoder alone is quantized.

    The value projection is not scaled against the output projection: all families share key and value heads among
    queries, and then the shapes do not fit.

    Attributes:
        scaled: what is scaled against what: the layer before, the linear layers after it, and the block whose output
            tells how good a scale is; names inside a decoder layer.
        modules_to_not_convert: stays 16-bit; parts of names, in transformers and in vLLM.
    """

    layer_type = "DecoderLayer"
    max_seq_len_key = "max_position_embeddings"
    modules_to_not_convert: ClassVar[list[str]] = [
        "visual", "vision_tower", "vision_backbone", "multi_modal_projector", "lm_head",
    ]  # fmt: skip
    scaled: ClassVar[list[tuple[str, tuple[str, ...], str]]] = [
        ("input_layernorm", ATTENTION, "self_attn"),
        ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj"), "mlp"),
        ("mlp.up_proj", ("mlp.down_proj",), "mlp.down_proj"),
    ]

    @staticmethod
    def get_model_layers(model: Any) -> nn.ModuleList:
        """The decoder layers."""
        layers: nn.ModuleList = model.model.language_model.layers
        return layers

    @staticmethod
    def get_act_for_scaling(module: nn.Module) -> dict[str, Any]:
        """No activation is scaled."""
        return {"is_scalable": False}

    @staticmethod
    def move_embed(model: Any, device: str) -> None:
        """Move what runs before the first layer: vision tower, projector, embeddings, rotary frequencies."""
        kept = LanguageTower.get_model_layers(model)
        for part in (*model.model.children(), *model.model.language_model.children()):
            if part is not kept and part is not model.model.language_model:
                part.to(device)

    @classmethod
    def get_layers_for_scaling(
        cls, module: Any, input_feat: dict[str, Any], module_kwargs: Any
    ) -> list[dict[str, Any]]:
        """The arguments of AutoAWQ's search for one decoder layer."""
        return [
            {
                "prev_op": module.get_submodule(before),
                "layers": [module.get_submodule(name) for name in after],
                "inp": input_feat[after[0]],
                "module2inspect": module.get_submodule(inspected),
                "kwargs": module_kwargs,
            }
            for before, after, inspected in cls.scaled
        ]


class LlavaTower(LanguageTower):
    """LLaVA with a Llama, such as the sample's VLM."""


class Glm4vTower(LanguageTower):
    """GLM-4.6V: gate and up are one layer, in this order; its last rows, up, are scaled against down."""

    scaled: ClassVar[list[tuple[str, tuple[str, ...], str]]] = [
        ("input_layernorm", ATTENTION, "self_attn"),
        ("post_attention_layernorm", ("mlp.gate_up_proj",), "mlp"),
        ("mlp.gate_up_proj", ("mlp.down_proj",), "mlp.down_proj"),
    ]


class Molmo2Tower(LanguageTower):
    """Molmo2: a Qwen3-like decoder with norms of queries and keys, which stay as they are."""


FAMILIES = {"llava": LlavaTower, "glm4v": Glm4vTower, "glm46v": Glm4vTower, "molmo2": Molmo2Tower}


def family(config: Any) -> type[LanguageTower]:
    """The class of a model.

    Raises:
        QuantizeError: none is known, or the model is a variant whose norms cannot be scaled.
    """
    found = FAMILIES.get(config.model_type)
    if found is None:
        raise QuantizeError(f"no AWQ class for model_type {config.model_type!r}; known: {', '.join(sorted(FAMILIES))}")
    if getattr(config.text_config, "norm_after", False):
        raise QuantizeError("this Molmo2 normalises after its blocks (norm_after); its norms cannot take up scales")
    return found
