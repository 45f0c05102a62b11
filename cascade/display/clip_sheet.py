"""A clip on one picture: the frame that stands for it as `overlay` draws it, and below it the timeline in small."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cascade.display.canvas import BACKGROUND, INK
from cascade.display.fonts import fit_font
from cascade.display.overlay import LABEL_COLOURS, draw
from cascade.probability import label_of

if TYPE_CHECKING:
    from PIL import Image

    from cascade.video.clip import ClipPrediction, FrameScore

MAX_TILES, COLUMNS = 12, 4
GAP, BAR, LINE = 8, 8, 22  # px


def draw_clip(frames: Iterable[Image.Image], clip: ClipPrediction, title: str) -> Image.Image:
    """Give the clip's sheet.

    Args:
        frames: upright RGB, one a moment of the timeline, in its order; read once, and few are held at a time.
        clip: the prediction.
        title: of the caption.

    Raises:
        ValueError: there are fewer frames than moments, so that the one that stands for the clip is missing.
    """
    shown = _chosen(clip)
    telling: Image.Image | None = None
    tiles: list[tuple[FrameScore, Image.Image]] = []
    # zip ends at the shorter one: the clip may be damaged behind the last moment
    for index, (moment, frame) in enumerate(zip(clip.timeline, frames, strict=False)):
        if moment.seconds == clip.frame_seconds:
            telling = frame
        if index in shown:
            tiles.append((moment, _small(frame)))
    if telling is None:
        raise ValueError(f"the clip has no frame at {clip.frame_seconds:.1f} s")
    return _stack(draw(telling, clip, title), tiles)


def _chosen(clip: ClipPrediction) -> set[int]:
    """Moments evenly over the timeline, the first and the last among them."""
    count, last = min(MAX_TILES, len(clip.timeline)), len(clip.timeline) - 1
    return {round(number * last / max(count - 1, 1)) for number in range(count)}


def _stack(top: Image.Image, tiles: list[tuple[FrameScore, Image.Image]]) -> Image.Image:
    from PIL import Image

    width = (top.width - GAP * (COLUMNS + 1)) // COLUMNS
    height = max(round(tile.height * width / tile.width) for _, tile in tiles)
    step = height + BAR + LINE + GAP
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (top.width, top.height + GAP + rows * step), BACKGROUND)
    sheet.paste(top)
    for number, (moment, tile) in enumerate(tiles):
        left = GAP + number % COLUMNS * (width + GAP)
        _paste(sheet, moment, tile, (left, top.height + GAP + number // COLUMNS * step, width, height))
    return sheet


def _paste(sheet: Image.Image, moment: FrameScore, tile: Image.Image, place: tuple[int, int, int, int]) -> None:
    """Put a frame at left, top, width, height (px), with a bar as long as its pooled probability below it."""
    from PIL import ImageDraw, ImageOps

    left, top, width, height = place
    sheet.paste(ImageOps.pad(tile, (width, height), color=BACKGROUND), (left, top))
    pen, colour = ImageDraw.Draw(sheet), LABEL_COLOURS[label_of(moment.pooled)]
    pen.rectangle((left, top + height + 2, left + width, top + height + BAR), fill="#3a424b")
    pen.rectangle((left, top + height + 2, left + round(width * moment.pooled), top + height + BAR), fill=colour)
    font, text = fit_font(f"{moment.seconds:.1f} s   {moment.pooled:.2f}", 15)
    pen.text((left, top + height + BAR + LINE / 2), text, fill=INK, font=font, anchor="lm")


def _small(frame: Image.Image) -> Image.Image:
    copy = frame.copy()
    copy.thumbnail((480, 480))
    return copy
