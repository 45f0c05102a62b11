"""Names of tensors in the checkpoints of all families."""

from __future__ import annotations

import pytest

from tasks.awq.layout import place

QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        # LLaVA as transformers saves it, and with older names
        ("model.language_model.layers.3.mlp.up_proj.weight", (3, ("mlp.up_proj",), "weight")),
        ("language_model.model.layers.12.self_attn.q_proj.weight", (12, ("self_attn.q_proj",), "weight")),
        # GLM: a bias, and a fused layer that stays one in transformers
        ("model.language_model.layers.0.self_attn.v_proj.bias", (0, ("self_attn.v_proj",), "bias")),
        ("model.language_model.layers.0.mlp.gate_up_proj.weight", (0, ("mlp.gate_up_proj",), "weight")),
        # Molmo2 as published: three layers in one, and up before gate
        ("model.transformer.blocks.7.self_attn.att_proj.weight", (7, QKV, "weight")),
        ("model.transformer.blocks.7.mlp.ff_proj.weight", (7, ("mlp.up_proj", "mlp.gate_proj"), "weight")),
        ("model.transformer.blocks.7.attn_norm.weight", (7, ("input_layernorm",), "weight")),
        # all else stays as it is: vision towers with blocks of their own, projectors, embeddings, the output layer
        ("model.vision_backbone.image_vit.transformer.resblocks.0.attention.wq.weight", None),
        ("model.vision_tower.encoder.layer.0.attention.attention.query.weight", None),
        ("model.visual.blocks.0.attn.qkv.weight", None),
        ("model.multi_modal_projector.linear_1.weight", None),
        ("model.language_model.embed_tokens.weight", None),
        ("model.transformer.wte.embedding", None),
        ("model.language_model.norm.weight", None),
        ("lm_head.weight", None),
    ],
)
def test_place(tensor: str, expected: tuple[int, tuple[str, ...], str] | None) -> None:
    found = place(tensor)
    assert (None if found is None else (found.number, found.modules, found.kind)) == expected
