"""Clips to feed the runtime."""

from __future__ import annotations

import io
from collections.abc import Sequence

import av

from tests.support import tiny


def clip(
    tops: Sequence[tuple[int, int, int]], *, fps: int = 4, size: tuple[int, int] = (160, 120), apart: int = 1
) -> bytes:
    """An mp4 with one frame a colour, `fps` a second, or every `apart` times as long."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index, top in enumerate(tops):
            frame = av.VideoFrame.from_image(tiny.street(top, size=size))
            frame.pts = index * apart
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()
