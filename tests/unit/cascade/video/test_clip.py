"""Clips: what is refused before a frame is decoded, what is sampled, and how frames become one answer."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cascade.config import ClipParams
from cascade.core.cascade import Cascade, Prediction
from cascade.preprocess.image import BadImage
from cascade.stages.base import StageResult
from cascade.stages.classifier import ClassifierStage
from cascade.video.clip import pool, predict_clip, smooth
from cascade.vlm.base import Clip
from tests.support import tiny
from tests.support.clips import clip, damaged

UNSURE = (120, 90, 100)
PARAMS = ClipParams()


def sound() -> bytes:
    """An mp4 without a video track."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cascade]:
    loaded = Cascade(tiny.write_release(tmp_path_factory.mktemp("root")), enforce_timeouts=False).load()
    yield loaded
    loaded.close()


SHORT = clip([tiny.ORANGE] * 8)
HOURS = clip([tiny.ORANGE] * 3, apart=4 * 3600)


@pytest.mark.parametrize(
    ("data", "limits", "reason"),
    [
        (lambda: b"", {}, "empty"),
        (lambda: b"\0\0\0\x18ftypmp42 and then nothing of the kind", {}, "not_a_clip"),
        (lambda: tiny.encoded(tiny.street(tiny.ORANGE)), {}, "not_a_clip"),
        (lambda: SHORT[: len(SHORT) // 3], {}, "not_a_clip"),
        (sound, {}, "no_video"),
        (lambda: HOURS, {}, "too_long"),
        (lambda: SHORT, {"max_seconds": 1}, "too_long"),
        (lambda: SHORT, {"max_pixels": 100 * 100}, "too_large"),
        (lambda: SHORT, {"max_bytes": 100}, "too_large"),
        (lambda: clip([tiny.ORANGE] * 2, size=(32, 16)), {}, "too_small"),
    ],
)
def test_a_bad_clip_is_refused_with_its_reason(
    cascade: Cascade, data: Callable[[], bytes], limits: dict[str, float], reason: str
) -> None:
    params = PARAMS.model_copy(update=limits)
    with pytest.raises(BadImage) as caught:
        predict_clip(cascade, data(), params)
    assert caught.value.reason == reason


def test_a_limit_is_checked_before_a_frame_is_decoded(cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.video.reader.ClipReader._image", lambda *_: pytest.fail("a frame was decoded"))
    with pytest.raises(BadImage, match=r"lasts \d+ s"):
        predict_clip(cascade, HOURS, PARAMS)


def test_a_clip_that_breaks_off_is_judged_by_what_came(cascade: Cascade) -> None:
    whole = clip([tiny.BLUE] * 40)
    start = whole.index(b"mdat") + 4
    # rubbish over the later half of the pictures; the index behind them stays
    end = whole.index(b"moov") - 4
    middle = (start + end) // 2
    broken = whole[:middle] + bytes(end - middle) + whole[end:]
    answer = predict_clip(cascade, broken, PARAMS)
    assert answer.label == "clear"
    assert 1 <= len(answer.timeline) <= 20


# clear for 4 s, then works for 8 s
DRIVE = [tiny.BLUE] * 20 + [tiny.ORANGE] * 40


@pytest.mark.parametrize("codec", ["libx264", "mjpeg", "mpeg4"])
def test_what_comes_after_a_damaged_packet_counts(cascade: Cascade, codec: str) -> None:
    """V1: the answer was clear, from the three frames before the damage."""
    answer = predict_clip(cascade, damaged(clip(DRIVE, fps=5, codec=codec), [8]), PARAMS)
    assert (answer.label, answer.complete) == ("roadwork", True)
    assert (answer.frames.expected, answer.frames.decoded, answer.frames.damaged) == (24, 24, 1)
    assert "24 of 24 frames are sound, 1 packets or frames damaged" in answer.reason


def test_an_answer_from_less_than_half_of_a_clip_is_marked(cascade: Cascade) -> None:
    answer = predict_clip(cascade, damaged(clip(DRIVE, fps=5, codec="mjpeg"), range(20, 60)), PARAMS)
    assert (answer.label, answer.complete) == ("clear", False)
    assert (answer.frames.expected, answer.frames.decoded) == (24, 8)
    assert "too few to tell what the rest shows" in answer.reason


def test_a_sound_clip_says_so(cascade: Cascade) -> None:
    answer = predict_clip(cascade, clip(DRIVE, fps=5), PARAMS)
    assert answer.complete
    assert answer.frames.model_dump() == {"expected": 24, "decoded": 24, "damaged": 0}
    assert "damaged" not in answer.reason


def test_a_clip_that_the_time_does_not_suffice_for_is_marked(cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = cascade.predict
    monkeypatch.setattr(cascade, "predict", lambda images, until, **options: predict(images, **options))
    answer = predict_clip(cascade, clip([tiny.BLUE] * 40, fps=2), PARAMS, until=0.0)
    assert (answer.frames.expected, len(answer.timeline), answer.complete) == (40, 16, False)


def test_frames_that_no_stage_had_time_for_do_not_spoil_those_before(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, calls = cascade.predict, []

    def late(images: Sequence[Image.Image], *arguments: float, **options: bool) -> list[Prediction]:
        calls.append(len(images))
        return predict(images, *([0.0] if len(calls) == 2 else arguments), **options)

    monkeypatch.setattr(cascade, "predict", late)
    answer = predict_clip(cascade, clip([tiny.BLUE] * 40, fps=2), PARAMS)
    assert (calls, len(answer.timeline), answer.frames.expected) == ([16, 16], 16, 40)


@pytest.mark.parametrize(
    ("tops", "label"),
    [
        ([tiny.ORANGE] * 12, "roadwork"),
        ([tiny.BLUE] * 12, "clear"),
        # seen for a third of the way
        ([tiny.BLUE] * 8 + [tiny.ORANGE] * 4, "roadwork"),
        # one stray frame is no roadwork
        ([tiny.BLUE] * 6 + [tiny.ORANGE] + [tiny.BLUE] * 5, "clear"),
    ],
)
def test_frames_become_one_answer(cascade: Cascade, tops: list[tuple[int, int, int]], label: str) -> None:
    answer = predict_clip(cascade, clip(tops), PARAMS.model_copy(update={"frames_per_second": 4.0}))
    assert answer.label == label
    assert (answer.probability > 0.5) == (label == "roadwork")
    assert [moment.seconds for moment in answer.timeline] == pytest.approx([index / 4 for index in range(12)])
    assert answer.frame.stages[0].stage == "classifier"
    assert answer.seconds == pytest.approx(3)


@pytest.mark.parametrize(("rate", "most", "expected"), [(2.0, 64, 5), (4.0, 64, 10), (100.0, 64, 10), (4.0, 3, 3)])
def test_frames_are_sampled(cascade: Cascade, rate: float, most: int, expected: int) -> None:
    params = PARAMS.model_copy(update={"frames_per_second": rate, "max_frames": most})
    assert len(predict_clip(cascade, clip([tiny.BLUE] * 10), params).timeline) == expected


class Watcher:
    """A VLM that looks at clips, or only at pictures."""

    name, memory_bytes = "vlm", 0

    def __init__(self, clip_p: float | None) -> None:
        self.clip_p = clip_p
        self.clips: list[Clip] = []
        self.images = 0

    def load(self) -> None:
        pass

    def unload(self) -> None:
        pass

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        self.images += len(images)
        return [StageResult(stage="vlm", probability=0.02, verdict="clear", milliseconds=1) for _ in images]

    def predict_clips(self, clips: Sequence[Clip]) -> list[StageResult]:
        self.clips += clips
        skipped = None if self.clip_p is not None else "off"
        verdict = "roadwork" if self.clip_p else "undecided"
        return [StageResult(stage="vlm", probability=self.clip_p, verdict=verdict, milliseconds=1, skipped=skipped)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tops", "clip_p", "clips", "images", "label"),
    [
        # stage 1 reaches a verdict: no other stage runs
        ([tiny.ORANGE] * 8, 0.9, 0, 0, "roadwork"),
        # undecided: the model for clips gets the uncertain frames, and its estimate counts
        ([UNSURE] * 8, 0.9, 1, 0, "roadwork"),
        # none for clips: the whole cascade gets the uncertain frames one by one
        ([UNSURE] * 4, None, 1, 4, "clear"),
    ],
)
def test_later_stages_see_the_uncertain(
    cascade: Cascade,
    tops: list[tuple[int, int, int]],
    clip_p: float | None,
    clips: int,
    images: int,
    label: str,
) -> None:
    vlm = Watcher(clip_p)
    both = Cascade(cascade.release, stages=[ClassifierStage(cascade.release), vlm], enforce_timeouts=False).load()
    answer = predict_clip(both, clip(tops), PARAMS.model_copy(update={"frames_per_second": 4.0}))
    both.close()
    assert (len(vlm.clips), vlm.images, answer.label) == (clips, images, label)
    if clips:
        assert 1 <= len(vlm.clips[0].frames) <= PARAMS.uncertain_frames
        assert answer.decided_by == "vlm"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([1, 3, 5]))
def test_pooling_stays_among_the_frames(p: list[float], window: int) -> None:
    clip_p, smoothed, chosen = pool(p, PARAMS.model_copy(update={"window": window}))
    assert len(smoothed) == len(p)
    assert min(p) <= clip_p <= max(p)
    assert smoothed[chosen] == clip_p
    assert smooth(p, 1) == p


def test_a_file_on_disk(cascade: Cascade, tmp_path: Path) -> None:
    (tmp_path / "street.mp4").write_bytes(SHORT)
    assert predict_clip(cascade, tmp_path / "street.mp4", PARAMS).label == "roadwork"
