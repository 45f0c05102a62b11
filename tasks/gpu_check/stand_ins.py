"""Tokenizers and processors in place of those that are on the Hub alone: real classes, vocabularies made here.

Their words say nothing; markers have the names that the real ones have, and the chat templates are short versions of
the published ones. What a model computes costs the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = [
    "yes", "no", "Yes", "No", "Is", "there", "roadwork", "?", "user", "assistant", "The", "street", "0.0", "seconds",
]  # fmt: skip
UNKNOWN, PAD, END = "<unk>", "<pad>", "<|endoftext|>"
GLM_MARKERS = [
    "[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>",
    "<|begin_of_video|>", "<|end_of_video|>", "<think>", "</think>", "/nothink", "<|begin_of_box|>",
]  # fmt: skip
MOLMO_MARKERS = [
    "<|image|>", "<|video|>", "<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<frame_start>", "<im_end>",
    "<frame_end>", "<im_low>", "<|im_start|>", "<|im_end|>",
]  # fmt: skip
GLM_TEMPLATE = (
    "[gMASK]<sop>{% for m in messages %}<|user|>{% for part in m['content'] %}{% if part['type'] == 'image' %}"
    "<|begin_of_image|><|image|><|end_of_image|>{% elif part['type'] == 'video' %}"
    "<|begin_of_video|><|video|><|end_of_video|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ '/nothink' if not enable_thinking }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{{ '<think></think>' if not enable_thinking }}{% endif %}"
)
MOLMO_TEMPLATE = (
    "{% for m in messages %}{% for part in m['content'] %}{% if part['type'] == 'image' %}<|image|>"
    "{% elif part['type'] == 'video' %}<|video|>{% endif %}{% endfor %}<|im_start|>user "
    "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)
# px a side of one crop of the tiny models
TINY_SIDE = 56
FLORENCE_SIDE, FLORENCE_TINY_SIDE = 768, 64
FLORENCE_TOKENS, FLORENCE_TINY_TOKENS = 577, 5  # of a picture
FLORENCE_PLACES = 1000  # tokens for coordinates
CLIP_LENGTH = 77


def words(markers: Sequence[str], size: int = 0, **options: Any) -> Any:
    """A `PreTrainedTokenizerFast` of words, markers and single characters.

    Args:
        markers: special tokens, which come first.
        size: of the vocabulary, filled up with words without a meaning; 0: as many as there are.
        options: of `PreTrainedTokenizerFast`.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    characters = [chr(code) for code in range(32, 127)]
    names = list(dict.fromkeys([UNKNOWN, PAD, END, *markers, *WORDS, *[f" {word}" for word in WORDS], *characters]))
    names += [f"word{number}" for number in range(len(names), size)]
    plain = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token=UNKNOWN))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain.add_special_tokens([UNKNOWN, PAD, END, *markers])
    given = {"unk_token": UNKNOWN, "pad_token": PAD, "eos_token": END, **options}
    return PreTrainedTokenizerFast(tokenizer_object=plain, **given)


def glm_processor(tokenizer: Any, *, tiny: bool) -> Any:
    """A `Glm46VProcessor` or `Glm4vProcessor`, at the published resolution unless `tiny`."""
    from transformers import Glm4vImageProcessor, Glm4vProcessor, Glm4vVideoProcessor

    size = {"size": {"shortest_edge": TINY_SIDE**2, "longest_edge": 4 * TINY_SIDE**2 * 8}} if tiny else {}
    images, videos = Glm4vImageProcessor(**size), Glm4vVideoProcessor(**size)
    return Glm4vProcessor(images, tokenizer, videos, chat_template=GLM_TEMPLATE)


def molmo_processor(tokenizer: Any, *, tiny: bool) -> Any:
    """A `Molmo2Processor`, at the published resolution unless `tiny`."""
    from transformers import Molmo2ImageProcessor, Molmo2Processor, Molmo2VideoProcessor

    size = {"height": TINY_SIDE, "width": TINY_SIDE}
    images = Molmo2ImageProcessor(size=size, max_crops=2, overlap_margins=[1, 1]) if tiny else Molmo2ImageProcessor()
    videos = Molmo2VideoProcessor(size=size) if tiny else Molmo2VideoProcessor()
    return Molmo2Processor(images, videos, tokenizer, chat_template=MOLMO_TEMPLATE)


def write_florence_processor(folder: Path, vocabulary: int, *, tiny: bool) -> dict[str, int]:
    """Save a `Florence2Processor` with its tokenizer; gives the ids of begin, end, padding and picture."""
    from transformers import CLIPImageProcessor, Florence2Processor

    places = [f"<loc_{number}>" for number in range(FLORENCE_PLACES)]
    names = {"bos_token": "<s>", "eos_token": "</s>", "extra_special_tokens": {"image_token": "<image>"}}
    tokenizer = words(["<s>", "</s>", "<image>", *places], vocabulary, **names)
    tokenizer.add_tokens(places)
    side = FLORENCE_TINY_SIDE if tiny else FLORENCE_SIDE
    square = {"height": side, "width": side}
    images = CLIPImageProcessor(size=square, crop_size=square)
    images.image_seq_length = FLORENCE_TINY_TOKENS if tiny else FLORENCE_TOKENS
    parse = {"ocr": {"AREA_THRESHOLD": 0.0}, "pure_text": {}}
    Florence2Processor(images, tokenizer, post_processor_config=parse).save_pretrained(folder)
    names = {"bos": "<s>", "eos": "</s>", "pad": PAD, "image": "<image>"}
    return {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def clip_tokenizer() -> Any:
    """What stands for both tokenizers of SDXL: 77 tokens, with their begin and end."""
    from tokenizers import processors

    begin = "<|startoftext|>"
    tokenizer = words([begin], bos_token=begin, pad_token=END, model_max_length=CLIP_LENGTH)
    ids = [(name, tokenizer.convert_tokens_to_ids(name)) for name in (begin, END)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {END}", special_tokens=ids
    )
    return tokenizer
