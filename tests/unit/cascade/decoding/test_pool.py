"""Decoding processes: the same pixels as in this process, and none of them can be held for ever."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cascade.decoding import pool as pools
from cascade.decoding import process as processes
from cascade.decoding.channel import BrokenError, Channel
from cascade.decoding.files import is_clip_file, read_picture
from cascade.decoding.pool import CLIPS, PICTURES, Decoders, DecodersBusyError
from cascade.decoding.process import DecoderProcess, DecodingDeadlineError
from cascade.preprocess.image import BadImage, decode
from cascade.video.reader import open_clip
from cascade.video.sampling import ClipLimits
from tests.support import bad_images, clips, tiny

LIMITS = {"max_pixels": 50_000_000, "min_side": 32}
CLIP = ClipLimits(
    frames_per_second=2, max_pixels=9_000_000, max_seconds=120, max_bytes=60_000_000, max_frames=64, min_side=32
)
JPEG = tiny.encoded(tiny.street(tiny.ORANGE, tiny.BLUE))
DRIVE = clips.clip([tiny.BLUE] * 20 + [tiny.ORANGE] * 40, fps=5)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders() as running:
        yield running


@pytest.fixture
def own() -> Iterator[Decoders]:
    """Decoders that a test may break."""
    with Decoders(pictures=1, clips=1) as running:
        yield running


def idle(decoders: Decoders) -> DecoderProcess:
    """The one process for pictures that was started."""
    (process,) = [one for one in decoders.lanes[PICTURES]._idle.queue if one is not None]
    return process


def process_id(decoders: Decoders) -> int:
    return idle(decoders)._channel._process.pid


@pytest.mark.parametrize("name", bad_images.BAD)
def test_a_bad_picture_is_refused_with_the_same_reason_as_in_process(decoders: Decoders, name: str) -> None:
    data, _, reason = bad_images.BAD[name]
    with pytest.raises(BadImage) as here:
        decode(data, **LIMITS)
    with pytest.raises(BadImage) as there:
        decoders.decode(data, **LIMITS)
    assert (there.value.reason, str(there.value)) == (here.value.reason, str(here.value))
    assert there.value.reason == reason


@pytest.mark.parametrize(
    "data",
    [
        JPEG,
        *(content for content, _ in bad_images.ODD.values()),
        tiny.encoded(tiny.street(tiny.ORANGE, size=(32, 33))),
        # more than the memory that is kept between pictures
        tiny.encoded(tiny.street(tiny.ORANGE, tiny.BLUE, size=(4000, 3000))),
        tiny.encoded(tiny.street(tiny.ORANGE, size=(33, 47)), "PNG"),
    ],
)
def test_the_pixels_are_those_of_this_process(decoders: Decoders, data: bytes) -> None:
    decoded = decoders.decode(data, **LIMITS)
    assert decoded.image.mode == "RGB"
    assert np.array_equal(np.asarray(decoded.image), np.asarray(decode(data, **LIMITS)))


def test_notes_come_along(decoders: Decoders) -> None:
    grey = tiny.png_grey16(np.full((64, 64), 4000))
    assert decoders.decode(grey, **LIMITS).notes == ("the file has 16 bits a value and uses 12: scaled by those",)


@pytest.mark.parametrize("as_file", [False, True])
def test_a_clip_gives_the_same_frames_as_in_this_process(decoders: Decoders, tmp_path: Path, as_file: bool) -> None:
    (tmp_path / "drive").write_bytes(DRIVE)
    with open_clip(DRIVE, CLIP) as here, decoders.open_clip(tmp_path / "drive" if as_file else DRIVE, CLIP) as there:
        pairs = list(zip(here.frames(), there.frames(), strict=True))
        assert (there.seconds, there.expected) == (here.seconds, here.expected)
    assert len(pairs) == 24
    assert all(a[0] == b[0] and np.array_equal(np.asarray(a[1]), np.asarray(b[1])) for a, b in pairs)
    assert (there.decoded, there.damaged) == (here.decoded, here.damaged) == (24, 0)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "empty"),
        (b"ffconcat version 1.0\nfile params.yaml\n", "not_a_clip"),
        (Path("no/such.mp4"), "unreadable"),
        (clips.damaged(clips.clip([tiny.BLUE] * 4, codec="mjpeg"), range(4)), "truncated"),
    ],
)
def test_a_bad_clip_is_refused(decoders: Decoders, source: bytes | Path, reason: str) -> None:
    with pytest.raises(BadImage) as caught, decoders.open_clip(source, CLIP) as clip:
        list(clip.frames())
    assert caught.value.reason == reason


def test_a_clip_may_be_left_in_the_middle(own: Decoders) -> None:
    for _ in range(3):
        with own.open_clip(DRIVE, CLIP) as clip:
            assert next(iter(clip.frames()))[0] == 0.0
    assert not own.lanes[CLIPS].ended
    with own.open_clip(DRIVE, CLIP) as clip:
        assert len(list(clip.frames())) == 24


def test_a_picture_that_takes_too_long_ends_its_process_and_the_next_one_is_decoded(own: Decoders) -> None:
    with pytest.raises(BadImage, match="takes too long") as caught:
        own.decode(bad_images.slow_bitmap(), **LIMITS)
    assert caught.value.reason == "too_slow"
    assert own.lanes[PICTURES].ended == {"too_slow": 1}
    assert own.decode(JPEG, **LIMITS).image.size == (400, 300)


def test_the_callers_deadline_is_no_fault_of_the_file(own: Decoders) -> None:
    own.decode(JPEG, **LIMITS)
    begun = time.monotonic()
    with pytest.raises(DecodingDeadlineError):
        own.decode(bad_images.slow_bitmap(), **LIMITS, until=begun + 0.3)
    assert time.monotonic() - begun < 2
    assert own.decode(JPEG, **LIMITS).image.size == (400, 300)


def test_a_clip_gives_what_came_before_the_deadline(own: Decoders) -> None:
    # every frame is due, and takes long
    slow = clips.one_picture_many_times(3000, samples=150, timescale=2)
    with own.open_clip(DRIVE, CLIP) as clip:
        list(clip.frames())
    begun = time.monotonic()
    with own.open_clip(slow, CLIP, until=begun + 5) as clip:
        times = [at for at, _ in clip.frames()]
        assert 1 <= len(times) < clip.expected == 64
    assert time.monotonic() - begun < 7
    assert own.lanes[CLIPS].ended == {"too_slow": 1}


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_process_that_dies_while_it_waits_is_replaced(own: Decoders, number: int) -> None:
    own.decode(JPEG, **LIMITS)
    os.kill(process_id(own), number)
    time.sleep(0.1)
    assert own.decode(JPEG, **LIMITS).image.size == (400, 300)


def test_a_process_that_dies_of_a_file_is_a_refusal(own: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    own.decode(JPEG, **LIMITS)
    victim, send = process_id(own), Channel.send

    def send_and_kill(self: Channel, line: str) -> None:
        os.kill(victim, signal.SIGSTOP)
        send(self, line)
        os.kill(victim, signal.SIGSEGV)
        os.kill(victim, signal.SIGCONT)

    with monkeypatch.context() as patch:
        patch.setattr(Channel, "send", send_and_kill)
        with pytest.raises(BadImage, match="the decoder died of it") as caught:
            own.decode(JPEG, **LIMITS)
    assert caught.value.reason == "crashed"
    assert own.lanes[PICTURES].ended == {"crashed": 1}
    assert own.decode(JPEG, **LIMITS).image.size == (400, 300)


@pytest.mark.parametrize("answer", [b"rubbish\n", b"[]\n", b'{"size": [9999, 9999], "offset": 0, "notes": []}\n'])
def test_an_answer_that_cannot_be_true_is_a_refusal(own: Decoders, answer: bytes) -> None:
    own.decode(JPEG, **LIMITS)
    idle(own)._channel._received = answer
    with pytest.raises(BadImage) as caught:
        own.decode(JPEG, **LIMITS)
    assert caught.value.reason == "crashed"
    assert own.decode(JPEG, **LIMITS).image.size == (400, 300)


def test_a_process_that_cannot_be_started_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.decoding.channel.sys.executable", "/bin/false")
    with Decoders() as broken, pytest.raises(BrokenError, match="ended with 1"):
        broken.decode(JPEG, **LIMITS)


def test_all_busy_until_the_time_is_up(own: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "HELD_SECONDS", 0.3)
    with own.lanes[PICTURES].process(processes.FOREVER):
        assert own.lanes[PICTURES].busy == 1
        assert not own.is_stuck
        with pytest.raises(DecodersBusyError, match="all 1 decoders for pictures"):
            own.decode(JPEG, **LIMITS, until=time.monotonic() + 0.4)
        assert own.is_stuck
    assert not own.is_stuck
    assert own.lanes[PICTURES].busy == 0


def test_several_threads_share_the_processes() -> None:
    results: list[tuple[int, int]] = []
    with Decoders(pictures=2) as decoders:

        def work() -> None:
            results.extend(decoders.decode(JPEG, **LIMITS).image.size for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [(400, 300)] * 120


def test_processes_end_with_their_owner() -> None:
    with Decoders() as decoders:
        decoders.decode(JPEG, **LIMITS)
        number = process_id(decoders)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: None])
def test_what_is_no_file_is_refused_at_once(decoders: Decoders, tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Opening a pipe that is named like a picture would wait for ever."""
    make(tmp_path / "x.jpg")
    for read in (is_clip_file, lambda path: read_picture(path, tiny.serve_params(), decoders)):
        with pytest.raises(BadImage) as caught:
            read(tmp_path / "x.jpg")
        assert caught.value.reason == "unreadable"
