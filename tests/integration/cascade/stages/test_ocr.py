"""Stage 4 with its real readers: RapidOCR's shipped models, and a small Florence-2 of random weights."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module")
def florence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_florence(tmp_path_factory.mktemp("florence"))


CORNERS = "".join(f"<loc_{place}>" for place in (100, 200, 500, 200, 500, 400, 100, 400))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("said", "texts"),
    [
        # cut off in its second line, and in the corners of it
        (f"</s><s>road work{CORNERS}ahead", ["road work", "ahead"]),
        (f"</s><s>road work{CORNERS}ahead<loc_1><loc_2>", ["road work"]),
        # cut off in its first line
        ("</s><s>road wor", ["road wor"]),
        # complete, beside longer answers of other pictures
        (f"</s><s>road work{CORNERS}</s><pad><pad>", ["road work"]),
        # it ended and gave no place: the other task shall read it
        ("</s><s>road work</s>", []),
        ("</s><s></s><pad>", []),
    ],
)
def test_what_florence_had_read_when_it_was_cut_off_counts(florence: Path, said: str, texts: list[str]) -> None:
    reader = FlorenceReader(florence, OcrParams(backend="florence2"))
    assert [line.text for line in reader.parse(said, REGIONS, (1000, 500))] == texts


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("max_tokens", [8, 40])
def test_florence_reads_all_pictures_of_a_call_at_once(florence: Path, max_tokens: int) -> None:
    reader = FlorenceReader(florence, OcrParams(backend="florence2", max_tokens=max_tokens))
    pictures, calls = [sign("ROAD WORK"), sign("AHEAD", size=(200, 300)), sign()], list[tuple[int, int]]()
    generate = reader._model.generate

    def noted(**given: Any) -> Any:
        tokens = generate(**given)
        calls.append((len(given["input_ids"]), tokens.shape[1] - 1))
        return tokens

    reader._model.generate = noted
    together = reader.read(pictures)
    assert calls[0][0] == 3
    assert all(tokens <= max_tokens for _, tokens in calls)
    alone = [reader.read([picture])[0] for picture in pictures]
    assert [[line.text for line in lines] for lines in together] == [[line.text for line in lines] for lines in alone]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_florence_ends_in_time_and_the_stage_counts_what_it_read(
    florence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = OcrParams(backend="florence2", max_tokens=100, time_limit_seconds=1e-6)
    stage = OcrStage(params, florence)
    stage.load()
    reader = stage._reader
    assert isinstance(reader, FlorenceReader)
    lengths: list[int] = []
    generate = reader._model.generate

    def noted(**given: Any) -> Any:
        # random weights would end at once
        tokens = generate(**given, min_new_tokens=50)
        lengths.append(tokens.shape[1] - 1)
        return tokens

    # what it would have read by then, of two pictures
    said = [f"</s><s>road work{CORNERS}men at w", f"</s><s>no parking{CORNERS}"]
    monkeypatch.setattr(reader._processor, "batch_decode", lambda *_, **__: said)
    reader._model.generate = noted
    first, second = stage.predict([sign("ROAD WORK"), sign("NO PARKING")])
    # the token that was computed when the time was up, and no second task
    assert lengths == [1]
    assert (first.batch, second.batch) == (2, 2)
    lines: Any = [result.detail["lines"] for result in (first, second)]
    assert [[line["text"] for line in one] for one in lines] == [["men at w", "road work"], ["no parking"]]
