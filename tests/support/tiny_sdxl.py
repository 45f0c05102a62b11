"""An SDXL of random weights that fits a test: the real classes, a few thousand parameters, tokenizers made here.

`python -m tests.support.tiny_sdxl FOLDER` writes one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
WIDTH = 32  # of both text encoders
TIME_WIDTH = 8


def tokenizer(texts: Iterable[str]):
    """Train CLIP's byte pair encoding on some texts, so that their words are tokens, as with the published one."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    base = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix=WORD_END, continuing_subword_prefix=""))
    base.normalizer = normalizers.Lowercase()
    base.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=[BEGIN, END], initial_alphabet=letters, end_of_word_suffix=WORD_END
    )
    base.train_from_iterator(texts, trainer)
    import json

    document = json.loads(base.to_str())["model"]
    merges = [tuple(pair) for pair in document["merges"]]
    return CLIPTokenizer(
        vocab=document["vocab"], merges=merges, model_max_length=77, bos_token=BEGIN, eos_token=END, pad_token=END
    )


def write_sdxl(folder: Path, texts: Iterable[str], seed: int = 0) -> Path:
    """Save a pipeline folder as the Hub has it, in safetensors.

    Args:
        folder: where.
        texts: what the tokenizers know.
        seed: of the weights.
    """
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    words = tokenizer(texts)
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=WIDTH,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    pipe = StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            block_out_channels=[32, 64],
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            latent_channels=4,
            sample_size=64,
        ),
        text_encoder=CLIPTextModel(text),
        text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=words,
        tokenizer_2=words,
        unet=unet(seed),
        # as published with SDXL base 1.0
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            steps_offset=1,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
        ),
        add_watermarker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def unet(seed: int):
    """A UNet of SDXL's kind: conditioned on text, on its pooled embedding and on six sizes."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    return UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=6 * TIME_WIDTH + WIDTH,
        cross_attention_dim=2 * WIDTH,
    )


if __name__ == "__main__":
    write_sdxl(Path(sys.argv[1]), sys.argv[2:])
