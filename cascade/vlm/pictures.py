"""Pictures on their way to a model: smaller, and as text for a server."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from cascade.vlm.base import Clip

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 95


def fitted(image: Image.Image, side: int) -> Image.Image:
    """Shrink so that the longer side is at most `side` px; smaller pictures stay as they are."""
    from PIL import Image

    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def thinned(clip: Clip, frames: int) -> Clip:
    """Keep at most so many frames, at even distances."""
    count = len(clip.frames)
    if count <= frames:
        return clip
    kept = tuple(clip.frames[index * count // frames] for index in range(frames))
    return Clip(kept, clip.frames_per_second * frames / count)


def as_content(item: Image.Image | Clip, side: int) -> dict[str, Any]:
    """One part of a chat message as OpenAI's API takes it.

    A clip goes as its frames, JPEGs with commas between them under the media type video/jpeg, which is vLLM's own form
    (vllm/multimodal/media/video.py): nothing has to be encoded as a film only to be decoded again.
    """
    if isinstance(item, Clip):
        frames = ",".join(_jpeg(fitted(frame, side)) for frame in item.frames)
        return {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}}
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{_jpeg(fitted(item, side))}"}}


def _jpeg(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, format="JPEG", quality=QUALITY)
    return base64.b64encode(stream.getvalue()).decode("ascii")
