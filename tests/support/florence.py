"""A Florence-2 of random weights, a few hundred thousand of them, from the real config and processor classes."""

from __future__ import annotations

from pathlib import Path

WORDS = ["road", "work", "ahead", "what", "is", "the", "text", "in", "image", "with", "regions"]
SIDE, TOKENS = 64, 5
UNKNOWN = "<unk>"
NAMES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": UNKNOWN}


def write_florence(folder: Path) -> Path:
    """Save model, tokenizer and processor as `florence-community/Florence-2-large` has them."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        PreTrainedTokenizerFast,
    )

    special = ["<s>", "<pad>", "</s>", "<unk>", "<image>", *(f"<loc_{index}>" for index in range(1000))]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, extra_special_tokens={"image_token": "<image>"}, **NAMES
    )  # fmt: skip
    tokenizer.add_tokens([f"<loc_{index}>" for index in range(1000)])
    images = CLIPImageProcessor(size={"height": SIDE, "width": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    images.image_seq_length = TOKENS
    config = Florence2Config(
        text_config={
            "model_type": "bart", "vocab_size": len(tokenizer), "d_model": 32, "encoder_layers": 1, "decoder_layers": 1,
            "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
            "max_position_embeddings": 128, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
            "decoder_start_token_id": 2, "forced_eos_token_id": 2,
        },
        vision_config={
            "embed_dim": [8, 16, 24, 32], "num_heads": [1, 2, 3, 4], "num_groups": [1, 2, 3, 4], "depths": [1, 1, 1, 1],
            "window_size": 4, "projection_dim": 32,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    torch.manual_seed(0)
    Florence2ForConditionalGeneration(config).save_pretrained(folder)
    parse = {"ocr": {"AREA_THRESHOLD": 0.0}, "pure_text": {}}
    Florence2Processor(images, tokenizer, post_processor_config=parse).save_pretrained(folder)
    return folder
