"""Pictures with what the stages saw: frames where the objects are, nothing cut off, nothing hidden."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from cascade.display.canvas import MIN_WIDTH, Canvas
from cascade.display.fonts import fit_font
from cascade.display.overlay import DETECTOR_COLOURS, LABEL_COLOURS, MAX_SIDE, MIN_SIDE, WORD_COLOUR, draw
from tests.support.predictions import box, prediction

GREY = (90, 90, 90)
YELLOW, CYAN = (ImageColor.getrgb(colour) for colour in DETECTOR_COLOURS)


Items = list[dict[str, Any]]


def drawn(
    size: tuple[int, int], *, p: float = 0.95, boxes: Items | None = None, lines: Items | None = None
) -> Image.Image:
    return draw(Image.new("RGB", size, GREY), prediction(boxes, lines, p), "street.jpg")


@pytest.mark.parametrize(
    ("size", "scale", "left"),
    [
        # what validators send, a full camera frame, larger than that
        ((224, 224), 960 / 224, 0),
        ((1920, 1080), 1.0, 0),
        ((4000, 3000), 0.48, 0),
        # narrow: the caption needs a margin beside it; wide; one pixel
        ((100, 1600), 1.0, 270),
        ((1900, 40), 1.0, 0),
        ((1, 1), 960, 0),
    ],
)
def test_pictures_of_all_shapes_keep_theirs_and_get_a_caption(size: tuple[int, int], scale: float, left: int) -> None:
    image = drawn(size)
    width, height = round(size[0] * scale), round(size[1] * scale)
    assert image.width == max(width, MIN_WIDTH)
    assert MIN_SIDE <= max(image.width, height) <= MAX_SIDE
    # the picture stands at its place, and the caption's bar begins right below it
    assert image.getpixel((left, height - 1)) == GREY
    assert image.getpixel((image.width - 1, height + 2)) == ImageColor.getrgb(LABEL_COLOURS["roadwork"])
    assert image.height > height + 60


@pytest.mark.parametrize("size", [(224, 224), (1920, 1080)])
def test_boxes_of_both_detectors_are_where_the_objects_are(size: tuple[int, int]) -> None:
    corners = (100.0, 120.0, 160.0, 180.0)
    pair = [box(corners, "yolo"), box((96.0, 116.0, 156.0, 176.0), "detr")]
    image = drawn(size, boxes=[*pair, box((10.0, 10.0, 40.0, 40.0), "detr", matched=False)])
    scale = max(1.0, MIN_SIDE / max(size))
    # halfway down the right edge of the first, and of the second detector's box
    middle = round(150 * scale)
    assert image.getpixel((round(160 * scale) - 2, middle)) == YELLOW
    assert image.getpixel((round(156 * scale) - 1, middle)) == CYAN
    assert image.getpixel((round(40 * scale), round(25 * scale))) == CYAN
    # and nowhere else
    assert image.getpixel((round(130 * scale), middle)) == GREY


@pytest.mark.parametrize(("p", "label"), [(0.95, "roadwork"), (0.2, "clear")])
def test_the_bar_has_the_colour_of_the_label(p: float, label: str) -> None:
    assert drawn((960, 540), p=p).getpixel((958, 542)) == ImageColor.getrgb(LABEL_COLOURS[label])


def test_words_are_framed_and_do_not_cover_each_other() -> None:
    lines = [{"text": "ROAD WORK", "box": [100, 100, 200, 30]}, {"text": "AHEAD", "box": [100, 132, 120, 30]}]
    image = drawn((960, 540), lines=lines)
    word = ImageColor.getrgb(WORD_COLOUR)
    assert image.getpixel((300, 115)) == word
    # no label lies inside a line of text, whose pixels are the picture's
    assert {image.getpixel((x, y)) for x in range(110, 210, 7) for y in (115, 147)} == {GREY}
    # but each has its label beside it
    assert sum(pixel == word for pixel in image.get_flattened_data()) > 2000


def test_small_objects_are_not_hidden_by_labels() -> None:
    boxes = [box((x, 100.0, x + 8.0, 110.0), matched=False) for x in range(20, 200, 12)]
    image = drawn((224, 224), boxes=boxes)
    scale = MIN_SIDE / 224
    inside = [image.getpixel((round((x + 4) * scale), round(105 * scale))) for x in range(20, 200, 12)]
    assert set(inside) == {GREY}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-50, 700)] * 4), max_size=12),
    st.tuples(st.integers(1, 640), st.integers(1, 640)),
    st.floats(0.2, 4),
)
def test_labels_lie_on_the_canvas_and_apart(
    corners: list[tuple[float, float, float, float]], size: tuple[int, int], scale: float
) -> None:
    canvas = Canvas(Image.new("RGB", size), scale)
    regions = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    for region in regions:
        canvas.frame(region, "#ffffff", 3, covered=True)
    places = [canvas.label(region, "barrier 0.50", "#ffffff", below=True) for region in regions]
    found = [place for place in places if place is not None]
    for x1, y1, x2, y2 in found:
        assert 0 <= x1 < x2 <= canvas.image.width + 1
        assert 0 <= y1 < y2 <= canvas.image.height + 1
    for index, one in enumerate(found):
        for other in found[:index]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ROAD WORK", {"ROAD WORK"}),
        # with a font of the system as it is, without one as far as Pillow's goes
        ("Straße gesperrt", {"Straße gesperrt", "Stra?e gesperrt"}),
        ("chaussée fermée", {"chaussée fermée", "chaussee fermee"}),
        ("道路工事", {"道路工事", "????"}),
    ],
)
def test_a_font_has_the_characters(text: str, shown: set[str]) -> None:
    font, found = fit_font(text, 18)
    assert found in shown
    assert font.getlength(found) > 0


def test_without_a_font_of_the_system_accents_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.display.fonts.SYSTEM_FONTS", ("no such font.ttf",))
    assert fit_font("chaussée fermée ß", 18)[1] == "chaussee fermee ?"
