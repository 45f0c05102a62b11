"""Damaged files through the real decoder: a picture, frames or a refusal with a known reason, and nothing else.

`make fuzz` tries more of them. A case is repeated by its number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from cascade.decoding.pool import Decoders
from cascade.decoding.process import TOO_SLOW, DecodingDeadlineError
from cascade.preprocess.image import BadImage
from cascade.video.sampling import ClipLimits
from tests.support import clips, exif, fuzz, tiny

CLIP = ClipLimits(
    frames_per_second=4, max_pixels=100_000, max_seconds=60, max_bytes=1_000_000, max_frames=8, min_side=16
)
# for one clip
SECONDS = 20.0
SOUND = "sound"
REASONS = {
    *(SOUND, TOO_SLOW),
    *("empty", "not_a_clip", "no_video", "unknown_codec", "truncated", "too_large", "too_small", "too_long"),
    *("too_many_frames", "not_an_image", "animated", "too_many_scans"),
}
TOPS = [tiny.ORANGE, tiny.BLUE] * 4
KINDS = [
    ("mpeg4", "mp4"),
    ("libx264", "mp4"),
    ("mjpeg", "mov"),
    ("libvpx", "webm"),
    ("libx264", "matroska"),
    ("mjpeg", "avi"),
    ("mpeg2video", "mpegts"),
]
STREET = tiny.street(tiny.ORANGE, tiny.BLUE, size=(96, 64))


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders() as running:
        yield running
        assert not [reason for lane in running.lanes.values() for reason in lane.ended if reason != TOO_SLOW]


def test_damaged_clips(decoders: Decoders) -> None:
    sound = [
        clips.clip(TOPS, codec=codec, container=container, size=(96, 64), fps=25 if container == "mpegts" else 4)
        for codec, container in KINDS
    ]

    def read(data: bytes) -> None:
        with decoders.open_clip(data, CLIP, until=time.monotonic() + SECONDS) as clip:
            frames = list(clip.frames())
        assert 1 <= len(frames) <= CLIP.max_frames
        assert clip.decoded <= len(frames)

    _try(read, sound)


def test_damaged_pictures(decoders: Decoders) -> None:
    block = exif.segment(exif.block({exif.ORIENTATION: (exif.SHORT, [6])}))
    sound = [
        exif.into_jpeg(tiny.encoded(STREET), block),
        tiny.encoded(STREET, progressive=True),
        tiny.png_with(tiny.encoded(STREET, "PNG"), (b"tEXt", b"Comment\0words")),
        tiny.png16(STREET),
        tiny.encoded(STREET, "WEBP"),
        tiny.encoded(STREET, "GIF"),
        tiny.encoded(STREET, "BMP"),
    ]

    def read(data: bytes) -> None:
        assert decoders.decode(data, max_pixels=1_000_000, min_side=1).image.mode == "RGB"

    _try(read, sound)


def _try(read: Callable[[bytes], None], sound: Sequence[bytes]) -> None:
    numbers = fuzz.cases(500)
    reasons = {number: _refusal(read, fuzz.mutated(sound[number % len(sound)], number)) for number in numbers}
    assert {number: reason for number, reason in reasons.items() if reason not in REASONS} == {}
    # damage that is always refused, or never, would try nothing
    assert 0 < sum(reason != SOUND for reason in reasons.values()) < len(numbers)


def _refusal(read: Callable[[bytes], None], data: bytes) -> str:
    try:
        read(data)
    except BadImage as error:
        return error.reason
    except DecodingDeadlineError:
        # a table of samples whose length was made a billion keeps FFmpeg busy; the process is ended
        return TOO_SLOW
    return SOUND
