"""What a file is follows from its first bytes alone, for the service, the command line and mining alike."""

from __future__ import annotations

import pytest

from cascade.preprocess.image import BadImage
from cascade.video.containers import HEAD_BYTES, demuxer_of, is_clip
from cascade.video.demux import name_demuxer
from tests.support import clips, tiny

TOPS = [tiny.ORANGE] * 4
MOV = clips.clip(TOPS, container="mov")


@pytest.mark.parametrize(
    ("head", "demuxer"),
    [
        (clips.clip(TOPS), "mp4"),
        (MOV, "mp4"),
        # without `ftyp`: QuickTime's `wide`, or the pictures first
        (clips.without_ftyp(MOV), "mp4"),
        (b"\0\0\x10\0mdat", "mp4"),
        (b"\0\0\0\1mdat\0\0\0\0\0\1\0\0", "mp4"),
        (clips.clip(TOPS, container="matroska"), "matroska"),
        (clips.clip(TOPS, container="webm", codec="libvpx", live=True), "matroska"),
        (clips.clip(TOPS, container="avi"), "avi"),
        (clips.clip(TOPS, container="mpegts"), "mpegts"),
        # with a time code before each packet, as camcorders write it
        (b"".join(b"\0\0\0\1G" + bytes(187) for _ in range(4)), "mpegts"),
        # lists, which FFmpeg would open the files of
        (b"ffconcat version 1.0\nfile params.yaml\n", None),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", None),
        (b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'>", None),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", None),
        (b"[Script Info]", None),
        # pictures, also those of the same families of containers
        (b"\0\0\0\x18ftypheic\0\0\0\0", None),
        (b"\0\0\0\x1cftypavif\0\0\0\0", None),
        (b"\0\0\0\x1cftypmif1\0\0\0\0", None),
        (tiny.encoded(tiny.street(tiny.ORANGE)), None),
        (tiny.encoded(tiny.street(tiny.ORANGE), "WEBP"), None),
        (b"GIF89a".ljust(188, b"G") * 4, None),
        # words that are box names too
        (b"The free parking", None),
        (b"Far wide streets", None),
        (b"", None),
        (b"G", None),
    ],
)
def test_the_first_bytes_name_the_demuxer(head: bytes, demuxer: str | None) -> None:
    assert demuxer_of(head[:HEAD_BYTES]) == demuxer
    assert is_clip(head[:HEAD_BYTES]) == (demuxer is not None)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (clips.clip(TOPS, container="flv", codec="flv"), "of the format Flash video are not read; send mp4"),
        (clips.clip(TOPS, container="asf"), "of the format Windows Media are not read"),
        (clips.clip(TOPS, container="vob", codec="mpeg2video", fps=25), "MPEG program stream are not read"),
        (b"OggS\0", "Ogg are not read"),
        (b"ffconcat version 1.0\n", "not a clip that can be read"),
    ],
)
def test_other_clips_are_refused_by_name(head: bytes, message: str) -> None:
    assert is_clip(head[:HEAD_BYTES]) == ("format" in message or "are not read" in message)
    with pytest.raises(BadImage, match=message) as caught:
        name_demuxer(head[:HEAD_BYTES])
    assert caught.value.reason == "not_a_clip"
