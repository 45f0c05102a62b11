"""The question as a model in this process takes it: chat template, token ids and pixels; and with words appended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cascade.vlm.base import Clip
from cascade.vlm.pictures import fitted
from cascade.vlm.settings import VlmSettings

if TYPE_CHECKING:
    from PIL import Image


def to_tensors(
    processor: Any, items: Sequence[Image.Image | Clip], settings: VlmSettings, prompt: str | None = None
) -> dict[str, Any]:
    """Put a question about each picture or clip: token ids, pixels and whatever else the model takes, as tensors.

    Args:
        processor: of the model, with its chat template.
        items: pictures, or one clip.
        settings: the question, and how large a picture may be.
        prompt: another question.

    Raises:
        ValueError: the model takes no pictures, or no clips.
    """
    text = {"type": "text", "text": prompt or settings.prompt}
    questions = [[{"role": "user", "content": [_content(item, settings.max_side), text]}] for item in items]
    options: dict[str, Any] = {"padding": True}
    if any(isinstance(item, Clip) for item in items):
        options |= {
            "do_sample_frames": False,
            "video_metadata": [_metadata(item) for item in items if isinstance(item, Clip)],
        }
    made = processor.apply_chat_template(
        questions, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
        processor_kwargs=options, **_template_options(processor, settings),
    )  # fmt: skip
    _check_seen(items, made)
    return {name: value for name, value in made.items() if hasattr(value, "to")}


def longer(inputs: dict[str, Any], ids: list[int]) -> dict[str, Any]:
    """The same inputs with text appended; whatever runs beside the ids grows by zeros, the attention mask by ones."""
    import torch

    grown = dict(inputs)
    for name in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
        if name in inputs:
            row = ids if name == "input_ids" else [int(name == "attention_mask")] * len(ids)
            tail = torch.tensor([row], dtype=inputs[name].dtype, device=inputs[name].device)
            grown[name] = torch.cat([inputs[name], tail], dim=1)
    return grown


def _content(item: Image.Image | Clip, side: int) -> dict[str, Any]:
    if isinstance(item, Clip):
        import numpy as np

        return {"type": "video", "video": np.stack([np.asarray(frame) for frame in item.frames])}
    return {"type": "image", "image": fitted(item, side)}


def _template_options(processor: Any, settings: VlmSettings) -> dict[str, Any]:
    """Variables of the chat template; one that it does not know would be taken for an error."""
    return {"enable_thinking": settings.thinking} if "enable_thinking" in str(processor.chat_template) else {}


def _check_seen(items: Sequence[Image.Image | Clip], made: Mapping[str, Any]) -> None:
    """Refuse inputs without pixels: a chat template that does not know clips leaves them out without a word."""
    clips = any(isinstance(item, Clip) for item in items)
    if not any("pixel" in name and (not clips or "video" in name) for name in made):
        raise ValueError(f"this model takes no {'clips' if clips else 'pictures'}")


def _metadata(clip: Clip) -> dict[str, Any]:
    """What the model writes between the frames: their times."""
    count = len(clip.frames)
    return {
        "total_num_frames": count,
        "fps": clip.frames_per_second,
        "duration": count / clip.frames_per_second,
        "frames_indices": list(range(count)),
        "width": clip.frames[0].width,
        "height": clip.frames[0].height,
    }
