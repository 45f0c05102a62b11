"""Stage 4 with its real readers: RapidOCR's shipped models, and a small Florence-2 of random weights."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from cascade.config.ocr import OcrParams
from cascade.ocr.florence import PLAIN, REGIONS, FlorenceReader
from cascade.ocr.lines import OcrError
from cascade.stages.ocr import OcrStage
from tests.support.florence import write_florence

pytestmark = pytest.mark.integration


def sign(*lines: str, size: tuple[int, int] = (640, 360)) -> Image.Image:
    image = Image.new("RGB", size, (250, 150, 20))
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        draw.text((40, 40 + 100 * row), line, fill=0, font=ImageFont.load_default(56))
    return image


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OcrStage]:
    made = OcrStage(OcrParams(threads=1), tmp_path_factory.mktemp("none"))
    with pytest.MonkeyPatch.context() as patch:
        # nothing may be fetched
        patch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the text reader went out"))
        made.load()
        made.predict([sign("WARM UP")])
    yield made
    made.unload()


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        (("ROAD WORK", "AHEAD"), "roadwork"),
        (("BAUSTELLE", "UMLEITUNG"), "roadwork"),
        (("NO PARKING", "ANY TIME"), "undecided"),
        (("ROAD WORK",), "undecided"),
        ((), "undecided"),
    ],
)
def test_signs_are_read(stage: OcrStage, lines: tuple[str, ...], verdict: str) -> None:
    (seen,) = stage.predict([sign(*lines)])
    assert seen.verdict == verdict
    assert seen.probability == (0.95 if verdict == "roadwork" else None)
    assert seen.skipped is None


def test_boxes_are_those_of_the_picture_as_it_came(stage: OcrStage) -> None:
    large = sign("ROAD WORK").resize((2560, 1440))
    (seen,) = stage.predict([large])
    (line,) = seen.detail["lines"]  # type: ignore[misc]
    assert "ROAD" in line["text"]  # type: ignore[index, call-overload, operator]
    x, y, w, h = line["box"]  # type: ignore[index, call-overload, misc]
    assert (100 < x < 240, 100 < y < 400, w > 800, h < 500) == (True,) * 4  # type: ignore[operator]


def test_not_loaded_and_off(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not loaded"):
        OcrStage(OcrParams(), tmp_path).predict([sign()])
    with pytest.raises(OcrError, match="off"):
        OcrStage(OcrParams(backend="off"), tmp_path)


def test_florence_without_weights_is_refused_before_it_loads(tmp_path: Path) -> None:
    with pytest.raises(OcrError, match=r"config\.json: no such file"):
        OcrStage(OcrParams(backend="florence2"), tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_florence_reads_in_process(tmp_path: Path) -> None:
    folder = write_florence(tmp_path / "florence")
    stage = OcrStage(OcrParams(backend="florence2"), folder)
    stage.load()
    # random weights say anything, but they say it in the right shape
    (seen,) = stage.predict([sign("ROAD WORK")])
    assert seen.verdict in ("undecided", "roadwork")
    stage.unload()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_florence_answers_become_lines(tmp_path: Path) -> None:
    reader = FlorenceReader(write_florence(tmp_path / "florence"), OcrParams(backend="florence2"))
    corners = "".join(f"<loc_{place}>" for place in (100, 200, 500, 200, 500, 400, 100, 400))
    (line,) = reader.parse(f"</s><s>road work{corners}</s><pad>", REGIONS, (1000, 500))
    assert (line.text, line.score) == ("road work", None)
    assert line.box == pytest.approx((100, 100, 400, 100), abs=1)
    assert [one.text for one in reader.parse("<s>road work ahead</s>", PLAIN, (10, 10))] == ["road work ahead"]
    assert reader.parse("<s></s>", PLAIN, (10, 10)) == []
