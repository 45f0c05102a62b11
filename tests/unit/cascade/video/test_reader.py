"""Frames of clips as recorders, streams and faulty cards leave them: all of the clip is seen, damage is counted."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable

import numpy as np
import pytest

from cascade.preprocess.image import BadImage
from cascade.video.reader import ClipReader, open_clip
from cascade.video.sampling import ClipLimits, expected_frames
from tests.support import clips, tiny

LIMITS = ClipLimits(
    frames_per_second=2, max_pixels=9_000_000, max_seconds=120, max_bytes=60_000_000, max_frames=64, min_side=32
)
# 12 s at 5 frames a second: clear for 4 s, then works
DRIVE = [tiny.BLUE] * 20 + [tiny.ORANGE] * 40
SEEN = 24


def read(data: bytes, limits: ClipLimits = LIMITS) -> tuple[ClipReader, list[float], list[bool]]:
    """The clip, the times of its frames, and whether each is orange above."""
    with open_clip(data, limits) as clip:
        frames = [(at, np.asarray(image).astype(int)[8, 80]) for at, image in clip.frames()]
    return clip, [at for at, _ in frames], [bool(pixel[0] > pixel[2]) for _, pixel in frames]


KINDS = [
    ("libx264", "mp4"),
    ("mjpeg", "mp4"),
    ("mpeg4", "mp4"),
    ("libx265", "mp4"),
    ("libvpx-vp9", "mp4"),
    ("libx264", "matroska"),
    ("libvpx", "webm"),
    ("mjpeg", "avi"),
    ("libx264", "mpegts"),
    ("mpeg4", "mov"),
]


# V3: a camera that has run for an hour; AVI counts frames from 0
@pytest.mark.parametrize(
    ("codec", "container", "hours"),
    [(*kind, 0) for kind in KINDS] + [(*kind, 1) for kind in KINDS if kind[1] != "avi"],
)
def test_a_sound_clip_is_seen_from_its_first_frame_to_its_last(codec: str, container: str, hours: int) -> None:
    data = clips.clip(DRIVE, fps=5, codec=codec, container=container, start=hours * 3600 * 5)
    clip, times, works = read(data)
    assert (clip.expected, clip.decoded, clip.damaged) == (SEEN, SEEN, 0)
    assert clip.seconds == pytest.approx(12, abs=0.05)
    assert times[:3] == pytest.approx([0.0, 0.6, 1.0], abs=0.01)
    assert times[-1] == pytest.approx(11.6, abs=0.01)
    assert works == [at > 3.9 for at in times]


@pytest.mark.parametrize(("codec", "container"), [kind for kind in KINDS if kind[1] in ("mp4", "mov", "avi")])
def test_a_damaged_packet_is_passed_over_and_counted(codec: str, container: str) -> None:
    """V1: what comes after packet 8 is seen."""
    data = clips.damaged(clips.clip(DRIVE, fps=5, codec=codec, container=container), [8], container)
    clip, times, works = read(data)
    assert clip.expected == SEEN
    assert len(times) >= SEEN - 1
    assert clip.damaged >= 1
    # HEVC shows all later frames with errors until its next key frame, and there is none here
    assert clip.decoded >= (3 if codec == "libx265" else SEEN - 1)
    assert sum(works) == 16


@pytest.mark.parametrize(("codec", "container"), [("libvpx", "webm"), ("libx264", "matroska")])
def test_a_hole_in_a_clip_counts_as_missing(codec: str, container: str) -> None:
    """Matroska's packets have no index: a broken one takes its cluster with it, and nobody says so."""
    whole = clips.clip(DRIVE, fps=5, codec=codec, container=container)
    clip, times, _ = read(clips.damaged(whole, [8], container))
    assert clip.expected == SEEN
    assert clip.decoded == len(times) < SEEN - 3


@pytest.mark.parametrize("container", ["webm", pytest.param("matroska", marks=pytest.mark.slow)])
@pytest.mark.parametrize("start", [pytest.param(0, marks=pytest.mark.slow), 3600 * 5])
def test_a_clip_that_states_no_duration_is_seen_whole(container: str, start: int) -> None:
    """V2: a minute with works in its last 12 s, from a browser's recorder."""
    tops = [tiny.BLUE] * 240 + [tiny.ORANGE] * 60
    data = clips.clip(tops, fps=5, codec="libvpx", container=container, start=start, live=True)
    clip, times, works = read(data)
    assert (clip.expected, clip.decoded) == (60, 60) or (clip.expected, clip.decoded) == (64, 64)
    assert clip.seconds == pytest.approx(60, abs=0.3)
    assert times[-1] > 58
    assert works == [at > 47.9 for at in times]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda: clips.clip([tiny.BLUE] * 140, fps=1, codec="libvpx", container="webm", live=True), "too_long"),
        (lambda: clips.one_picture_many_times(64, samples=5000), "too_many_frames"),
        (lambda: clips.clip(DRIVE)[:200], "not_a_clip"),
        (lambda: b"ffconcat version 1.0\nfile params.yaml\n", "not_a_clip"),
        # every packet
        (lambda: clips.damaged(clips.clip(DRIVE, codec="mjpeg"), range(60)), "truncated"),
        # the code of a codec that nobody has
        (lambda: clips.clip(DRIVE, codec="libx264").replace(b"avc1", b"zzzz"), "unknown_codec"),
    ],
)
def test_a_clip_that_cannot_be_seen_is_refused(data: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(BadImage) as caught:
        read(data())
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("share", "container", "live"), [(0.4, "matroska", False), (0.4, "mpegts", False), (0.4, "webm", True)]
)
def test_a_clip_that_breaks_off_is_seen_as_far_as_it_goes(share: float, container: str, live: bool) -> None:
    codec = "libvpx" if live else "mpeg4"
    whole = clips.clip(DRIVE, fps=5, codec=codec, container=container, live=live)
    clip, times, _ = read(whole[: int(len(whole) * share)])
    assert 4 <= len(times) == clip.decoded < SEEN
    # only a header that states the length tells that something is missing
    assert clip.expected == SEEN or container != "matroska"


def test_a_clip_whose_end_cannot_be_read_is_seen_as_far_as_it_goes() -> None:
    """The index lists packets behind the end of the file, and reading them is an error."""
    whole = clips.index_first(clips.clip(DRIVE, fps=5, codec="libx264"))
    assert read(whole)[0].decoded == SEEN
    clip, times, _ = read(whole[: int(len(whole) * 0.8)])
    assert 4 <= len(times) == clip.decoded < SEEN - 3
    assert clip.expected >= SEEN - 1
    assert clip.damaged


def test_frames_that_are_never_due_are_not_decoded() -> None:
    """The attack: 150 pictures of 9 megapixels within a microsecond."""
    begun = time.process_time()
    clip, times, _ = read(clips.one_picture_many_times())
    assert (times, clip.expected, clip.decoded) == ([0.0], 1, 1)
    # all of them take about 30 s
    assert time.process_time() - begun < 8


def test_a_slow_clip_has_no_holes() -> None:
    clip, times, _ = read(clips.clip([tiny.BLUE] * 12, fps=1, apart=10))
    assert (clip.expected, clip.decoded, len(times)) == (12, 12, 12)


def test_frames_are_given_no_larger_than_wanted() -> None:
    with open_clip(clips.clip(DRIVE), dataclasses.replace(LIMITS, max_side=80)) as clip:
        assert {image.size for _, image in clip.frames()} == {(80, 60)}


def test_an_unknown_exception_is_a_refusal_and_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise AttributeError("no codec_context")

    caplog.set_level(logging.WARNING, "streetvision")
    for name in ("cascade.video.reader.measure", "cascade.video.reader.ClipReader._decode"):
        with monkeypatch.context() as patch:
            patch.setattr(name, broken)
            with pytest.raises(BadImage, match="no codec_context") as caught:
                read(clips.clip(DRIVE))
        assert caught.value.reason == "undecodable"
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("times", "step", "seconds", "most", "expected"),
    [
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 0.5, 1.2, 64, 3),
        # sparser than the sampling
        ([0.0, 10.0, 20.0], 0.5, 30.0, 64, 3),
        # a hole of 4 s between frames that come each 0.2 s
        ([*np.arange(0, 2, 0.2), *np.arange(6, 8, 0.2)], 0.5, 8.0, 64, 16),
        # the header states 8 s and the file holds 2
        (list(np.arange(0, 2, 0.2)), 0.5, 8.0, 64, 16),
        # and never more than are sampled
        (list(np.arange(0, 2, 0.2)), 0.5, 800.0, 64, 64),
        ([0.0], 0.5, 0.0, 64, 1),
    ],
)
def test_expected_frames(times: list[float], step: float, seconds: float, most: float, expected: int) -> None:
    assert expected_frames(times, step, seconds, most) == expected
