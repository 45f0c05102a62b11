"""What `predict` prints: every line within the terminal, and readable by a program that splits at blanks."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cascade.core.cascade import Prediction
from cascade.display.predictions import path_width, prediction_line, saw, trace_tables
from cascade.stages.base import StageResult, skipped_result
from cascade.video.clip import ClipPrediction, FrameCounts
from tests.support.predictions import box, clip_prediction, prediction

LONG = "/data/streets/2026/11/26/camera-front-left/drive-000123/frame-0000456.jpg"


def printed(one: Prediction | ClipPrediction, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    for table in trace_tables(one):
        console.print(table)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.splitlines()


def test_one_line_a_picture_aligned() -> None:
    paths = ["a.jpg", LONG]
    width = path_width(paths, 80)
    lines = [prediction_line(path, prediction(), width) for path in paths]
    assert [len(line) for line in lines] == [80, 80]
    assert lines[0].split() == ["a.jpg", "roadwork", "0.950", "ocr", "4188", "ms"]
    # the file's name stays
    assert lines[1].split()[0].endswith("frame-0000456.jpg")


def test_short_paths_take_no_more_than_they_need() -> None:
    assert prediction_line("a.jpg", prediction(), path_width(["a.jpg"], 80)).startswith("a.jpg  roadwork")


@given(st.lists(st.text(min_size=1, max_size=120), min_size=1, max_size=4), st.integers(60, 200))
def test_no_path_breaks_a_line(paths: list[str], width: int) -> None:
    column = path_width(paths, width)
    for path in paths:
        (line,) = prediction_line(path, prediction(), column).splitlines()
        assert line.endswith("  roadwork  0.950  ocr           4188 ms")


def test_what_was_odd_about_a_file_stands_below_its_line() -> None:
    noted = prediction().noted(["16 bits a value, uses 12"])
    assert prediction_line("a.png", noted, 10).splitlines()[1:] == ["  16 bits a value, uses 12"]
    clip = clip_prediction([0.1, 0.9], 1)
    assert len(prediction_line("a.mp4", clip, 10).splitlines()) == 1
    damaged = clip.model_copy(update={"frames": FrameCounts(expected=24, decoded=8, damaged=3)})
    (_, remark) = prediction_line("a.mp4", damaged, 10).splitlines()
    assert remark.startswith("  8 of 24 frames are sound, 3 packets or frames damaged, too few")


def test_the_trace_has_a_row_a_stage_within_80_columns() -> None:
    lines = printed(prediction([box((1, 2, 3, 4))]))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for words in ("classifier   0.500   undecided", "skipped: timeout", "agree on 1 of the 3", "reads 2 roadwork"):
        assert words in text
    # as high as the stages and a header, not 40 lines
    assert len(lines) <= 12


def test_a_clip_has_its_timeline_and_the_stages_of_the_telling_frame() -> None:
    lines = printed(clip_prediction([0.1, 0.9, 0.9, 0.2], telling=1))
    assert max(map(len, lines)) <= 80
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["0.0", "0.100", "0.100"],
        ["0.5", "0.900", "0.900"],
        ["1.0", "0.900", "0.900"],
        ["1.5", "0.200", "0.200"],
    ]
    assert "the frame at 0.5 s" in "\n".join(lines)


@pytest.mark.parametrize(
    ("stage", "detail", "words"),
    [
        ("classifier", {}, ""),
        ("classifier", {"views": 3}, "mean of 3 views"),
        ("detectors", {"summary": "detectors agree on 3 objects"}, "agree on 3 objects"),
        ("vlm", {"said": "Yes"}, 'says "Yes"'),
        # what a model says is not ours: one line, and not all of it
        ("vlm", {"said": "Yes\n\x1b[2J " + "there " * 20}, f'says "Yes??[2J {"there " * 7}there..."'),
        ("ocr", {"lines": []}, "reads no text"),
        ("ocr", {"lines": [{"text": "ROAD"}, {"text": "CLOSED"}]}, 'reads "ROAD | CLOSED"'),
    ],
)  # fmt: skip
def test_what_a_stage_saw(stage: str, detail: dict[str, Any], words: str) -> None:
    assert saw(StageResult(stage=stage, verdict="undecided", milliseconds=1, detail=detail)) == words


def test_a_skipped_stage_saw_nothing() -> None:
    assert saw(skipped_result("vlm", "off")) == ""
