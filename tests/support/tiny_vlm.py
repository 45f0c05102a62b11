"""A GLM-4.6V, a Molmo2 and a LLaVA of random weights from their real config, model and processor classes.

Only the tokenizers are stand-ins: the real vocabularies are on the Hub alone, so words and markers of the same names
make one of a few hundred tokens. The chat templates are short versions of the published ones, with the parts that the
vlm depends on: `enable_thinking` for GLM, the media markers for both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.gpu_check.stand_ins import GLM_MARKERS, GLM_TEMPLATE, MOLMO_MARKERS, MOLMO_TEMPLATE, words

TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 4096,
}  # fmt: skip


def write_glm46v(folder: Path) -> Path:
    """Save a `Glm46VForConditionalGeneration` with its processor."""
    return _write_glm(folder, "Glm46V")


def write_glm4v(folder: Path) -> Path:
    """Save a `Glm4vForConditionalGeneration` with its processor: what the config of GLM-4.6V-Flash names."""
    return _write_glm(folder, "Glm4v")


def _write_glm(folder: Path, family: str) -> Path:
    import torch
    import transformers

    def of(kind: str) -> Any:
        return getattr(transformers, family + kind)

    tokens = words(GLM_MARKERS)
    ids = tokens.convert_tokens_to_ids
    config = of("Config")(
        text_config={
            **TEXT, "model_type": "glm4v_text", "vocab_size": len(tokens), "pad_token_id": tokens.pad_token_id,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2],
                                "partial_rotary_factor": 1.0},
        },
        vision_config={
            "model_type": "glm4v_vision", "depth": 1, "hidden_size": 32, "num_heads": 2, "out_hidden_size": 32,
            "intermediate_size": 48, "image_size": 56,
        },
        image_token_id=ids("<|image|>"), video_token_id=ids("<|video|>"),
        image_start_token_id=ids("<|begin_of_image|>"), image_end_token_id=ids("<|end_of_image|>"),
        video_start_token_id=ids("<|begin_of_video|>"), video_end_token_id=ids("<|end_of_video|>"),
    )  # fmt: skip
    torch.manual_seed(0)
    of("ForConditionalGeneration")(config).save_pretrained(folder)
    size = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112 * 8}
    images, videos = of("ImageProcessor")(size=size), of("VideoProcessor")(size=size)
    of("Processor")(images, tokens, videos, chat_template=GLM_TEMPLATE).save_pretrained(folder)
    return folder


def write_molmo(folder: Path) -> Path:
    """Save a `Molmo2ForConditionalGeneration` with its processor, as allenai/Molmo2-8B lays them out."""
    import torch
    from transformers import (
        Molmo2Config,
        Molmo2ForConditionalGeneration,
        Molmo2ImageProcessor,
        Molmo2Processor,
        Molmo2VideoProcessor,
    )

    tokens = words(MOLMO_MARKERS)
    ids = tokens.convert_tokens_to_ids
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
    config = Molmo2Config(
        text_config={**TEXT, "head_dim": 8, "vocab_size": len(tokens), "additional_vocab_size": 8},
        vision_config={
            **heads, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "image_size": [56, 56],
        },
        adapter_config={
            **heads, "hidden_size": 32, "intermediate_size": 48, "text_hidden_size": 32, "vision_feature_layer": [1, 0],
        },
        image_start_token_id=ids("<im_start>"), low_res_image_start_token_id=ids("<low_res_im_start>"),
        image_end_token_id=ids("<im_end>"), image_patch_id=ids("<im_patch>"),
        frame_start_token_id=ids("<frame_start>"), frame_end_token_id=ids("<frame_end>"),
    )  # fmt: skip
    torch.manual_seed(0)
    model = Molmo2ForConditionalGeneration(config)
    # the default writes the names of the original code, which do not load again (domain facts, section 3)
    model.save_pretrained(folder, save_original_format=False)
    size = {"height": 56, "width": 56}
    Molmo2Processor(
        Molmo2ImageProcessor(size=size, max_crops=2, overlap_margins=[1, 1]), Molmo2VideoProcessor(size=size), tokens,
        chat_template=MOLMO_TEMPLATE,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def write_llava(folder: Path, side: int = 56) -> Path:
    """Save a `LlavaForConditionalGeneration` made as the sample's VLM is of a tiny DINOv2 and Llama; `side` in px."""
    import torch
    from transformers import (
        BitImageProcessor,
        Dinov2Config,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    from tasks.classifier.backbone import MEAN, STD
    from tasks.llava.assemble import TEMPLATE

    tokens = words(["<image>", "<|im_start|>", "<|im_end|>"])
    config = LlavaConfig(
        vision_config=Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=56),
        text_config=LlamaConfig(**TEXT, vocab_size=len(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        vision_feature_layer=1,
    )
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    crop = {"height": side, "width": side}
    images = BitImageProcessor(size={"shortest_edge": side}, crop_size=crop, image_mean=MEAN, image_std=STD)
    LlavaProcessor(
        images, tokens, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)  # fmt: skip
    return folder
