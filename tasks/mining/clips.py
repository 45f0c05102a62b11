"""Frames of a clip at a given rate, as JPEG files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.decoding.pool import Decoders
from cascade.preprocess.image import BadImage
from cascade.video.sampling import ClipLimits

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 95


def frames(clip: Path, rate: float, *, max_pixels: int, decoders: Decoders) -> Iterator[tuple[float, bytes]]:
    """Decode a clip from its beginning and give `rate` frames a second of its own time, one at a time.

    Args:
        clip: a file; its content tells the format, not its name.
        rate: frames a second; beyond the clip's own rate every frame is given.
        max_pixels: a stream of larger frames is refused before it is decoded.
        decoders: decode it.

    Yields:
        Seconds from the first frame, and the frame as an upright JPEG.

    Raises:
        BadImage: where it cannot go on, or at the end where damaged packets were passed over; frames that were given
            before are sound.
    """
    with decoders.open_clip(clip, ClipLimits(frames_per_second=rate, max_pixels=max_pixels)) as opened:
        for seconds, image in opened.frames():
            yield seconds, _jpeg(image)
    if opened.damaged:
        raise BadImage("damaged", f"{opened.damaged} damaged packets or frames of the clip were passed over")


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
