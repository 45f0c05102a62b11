"""A clip on one picture: the telling frame in large, the timeline in small."""

from __future__ import annotations

from collections import Counter

import pytest
from PIL import Image, ImageColor

from cascade.display.clip_sheet import MAX_TILES, draw_clip
from cascade.display.overlay import LABEL_COLOURS
from tests.support.predictions import clip_prediction


def frames(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (320, 240), (10 * (index % 20), 40, 90)) for index in range(count)]


def test_a_clip_whose_telling_frame_is_gone_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no frame at 1\.5 s"):
        draw_clip(frames(3), clip_prediction([0.1, 0.2, 0.3, 0.9], telling=3), "street.mp4")


@pytest.mark.parametrize("count", [1, 2, 5, 12, 64])
def test_the_telling_frame_and_the_timeline(count: int) -> None:
    pooled = [0.1] * (count - 1) + [0.9]
    sheet = draw_clip(iter(frames(count)), clip_prediction(pooled, telling=count - 1), "street.mp4")
    assert sheet.getpixel((5, 5)) == (10 * ((count - 1) % 20), 40, 90)
    rows = -(-min(count, MAX_TILES) // 4)
    # the frame, its caption, and a row for each four of the timeline
    assert sheet.width == 960
    assert 720 + 100 + rows * 170 < sheet.height < 720 + 160 + rows * 230
    bars = Counter(sheet.crop((0, 820, *sheet.size)).get_flattened_data())
    roadwork, clear = (ImageColor.getrgb(LABEL_COLOURS[label]) for label in ("roadwork", "clear"))
    assert bars[roadwork] > 0
    assert (bars[clear] > 0) == (count > 1)
