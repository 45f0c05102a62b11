"""A picture to draw on: frames and labels in its own coordinates, and a caption below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cascade.display.fonts import fit_font
from cascade.display.text import shorten_middle

if TYPE_CHECKING:
    from PIL import Image

Region = tuple[float, float, float, float]
# px; a caption needs it, so that a narrow picture gets a margin
MIN_WIDTH = 640
BACKGROUND, INK, DARK, FAINT = "#14181d", "#f2f4f6", "#101010", "#aab4be"


class Canvas:
    """A scaled copy of a picture.

    Args:
        source: RGB.
        scale: px of the canvas per px of the picture.

    Attributes:
        image: what was drawn so far, RGB.
    """

    def __init__(self, source: Image.Image, scale: float) -> None:
        from PIL import Image, ImageDraw

        width, height = (max(1, round(side * scale)) for side in source.size)
        scaled = source.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        self._scale, self._left = scale, max(0, (MIN_WIDTH - width) // 2)
        self.image = Image.new("RGB", (max(width, MIN_WIDTH), height), BACKGROUND)
        self.image.paste(scaled, (self._left, 0))
        self._draw = ImageDraw.Draw(self.image)
        # what no label may cover
        self._taken: list[Region] = []
        # a thousandth of the longer side, the unit of line widths
        self._unit = max(self.image.size) / 1000
        self._text_size = round(max(13, min(26, max(self.image.size) / 60)))

    def frame(self, corners: Region, colour: str, width: int, *, covered: bool) -> None:
        """Draw the outline of a region of the picture.

        Args:
            corners: x1, y1, x2, y2 in px of the picture.
            colour: of the line.
            width: of the line, thousandths of the canvas' longer side.
            covered: labels may cover it, unless it is so small that they would hide it.
        """
        x1, y1, x2, y2 = self._placed(corners)
        if not covered or min(x2 - x1, y2 - y1) < 3 * self._text_size:
            self._taken.append((x1, y1, x2, y2))
        wide = max(1, round(width * self._unit))
        # a dark rim keeps the line visible on a background of its own colour
        self._draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=DARK, width=wide + 2)
        self._draw.rectangle((x1, y1, x2, y2), outline=colour, width=wide)

    def label(self, corners: Region, text: str, colour: str, *, below: bool) -> Region | None:
        """Write a text at a region where it hides nothing, and give its place; None where there is no such place.

        Args:
            corners: x1, y1, x2, y2 in px of the picture.
            text: any characters.
            colour: of its background.
            below: tried first below the region, otherwise above.
        """
        font, shown = fit_font(text, self._text_size)
        width, height = font.getlength(shown) + 6, self._text_size + 6
        for left, top in self._places(self._placed(corners), width, height, below=below):
            place = (left, top, left + width, top + height)
            if any(_overlap(place, other) for other in self._taken):
                continue
            self._taken.append(place)
            self._draw.rectangle(place, fill=colour)
            self._draw.text((left + 3, top + height / 2), shown, fill=DARK, font=font, anchor="lm")
            return place
        return None

    def add_caption(self, headline: str, colour: str, lines: Sequence[str], legend: Sequence[tuple[str, str]]) -> None:
        """Append a caption below the picture.

        Args:
            headline: on a bar of its own.
            colour: of the bar.
            lines: below it, wrapped where they are too long; the last one, a path, is shortened instead.
            legend: colours with their meaning; an empty colour has no mark.
        """
        size, width = self._text_size, self.image.width
        wrapped = [part for line in lines[:-1] for part in _wrap(line, size, width - size)]
        wrapped.append(_shortened(lines[-1], size, width - size))
        bar, step = round(size * 2.2), round(size * 1.45)
        rows = len(wrapped) + len(self._legend_rows(legend, width - size))
        top = self._extend(bar + rows * step + size // 2)
        self._draw.rectangle((0, top, width, top + bar), fill=colour)
        font, shown = fit_font(headline, round(size * 1.25))
        self._draw.text((size // 2, top + bar / 2), shown, fill=INK, font=font, anchor="lm")
        y = top + bar + step / 2 + size / 4
        for number, line in enumerate(wrapped, start=1):
            font, shown = fit_font(line, size)
            ink = FAINT if number == len(wrapped) else INK
            self._draw.text((size // 2, y), shown, fill=ink, font=font, anchor="lm")
            y += step
        for row in self._legend_rows(legend, width - size):
            self._draw_legend(row, y)
            y += step

    def _placed(self, corners: Region) -> Region:
        """Corners on the canvas, inside the picture."""
        right, bottom = self.image.width - self._left - 1, self.image.height - 1
        x1, y1, x2, y2 = (value * self._scale for value in corners)
        left = self._left
        return (
            min(max(x1 + left, left), right),
            min(max(y1, 0), bottom),
            min(max(x2 + left, left), right),
            min(max(y2, 0), bottom),
        )

    def _places(self, region: Region, width: float, height: float, *, below: bool) -> list[tuple[float, float]]:
        """Where a label may lie, best first, all of it on the canvas."""
        x1, y1, x2, y2 = region
        most_left, most_top = max(0.0, self.image.width - width), max(0.0, self.image.height - height)
        edges = [y2 + 1, y1 - height - 1] if below else [y1 - height - 1, y2 + 1]
        # beside the region and inside it come last
        places = [(left, top) for top in edges for left in (x1, x2 - width)]
        middle = (y1 + y2 - height) / 2
        places += [(x2 + 1, middle), (x1 - width - 1, middle), (x1, y2 - height if below else y1)]
        inside = ((min(max(left, 0.0), most_left), top) for left, top in places)
        return [(left, top) for left, top in inside if 0 <= top <= most_top]

    def _extend(self, height: int) -> int:
        """Make the canvas `height` px higher, and give where the new part begins."""
        from PIL import Image, ImageDraw

        top = self.image.height
        taller = Image.new("RGB", (self.image.width, top + height), BACKGROUND)
        taller.paste(self.image)
        self.image, self._draw = taller, ImageDraw.Draw(taller)
        return top

    def _legend_rows(self, legend: Sequence[tuple[str, str]], width: float) -> list[list[tuple[str, str, float]]]:
        """Entries with their x, as many a row as fit."""
        rows: list[list[tuple[str, str, float]]] = []
        x = 0.0
        for colour, text in legend:
            taken = self._text_size * (2.6 if colour else 1.2) + _length(text, self._text_size)
            if not rows or x + taken > width:
                rows.append([])
                x = 0.0
            rows[-1].append((colour, text, x + self._text_size / 2))
            x += taken
        return rows

    def _draw_legend(self, row: list[tuple[str, str, float]], y: float) -> None:
        size = self._text_size
        for colour, text, x in row:
            if colour:
                self._draw.rectangle((x, y - size / 2, x + size, y + size / 2), fill=colour)
            font, shown = fit_font(text, size)
            self._draw.text((x + (size * 1.4 if colour else 0), y), shown, fill=INK, font=font, anchor="lm")


def _length(text: str, size: int) -> float:
    font, shown = fit_font(text, size)
    return font.getlength(shown)


def _wrap(text: str, size: int, width: float) -> list[str]:
    """Break a text into lines of at most `width` px."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip(" ")
        if lines[-1] and _length(longer, size) > width:
            lines.append(_shortened(word, size, width))
        else:
            lines[-1] = _shortened(longer, size, width)
    return lines


def _shortened(text: str, size: int, width: float) -> str:
    count = len(text)
    while count > 8 and _length(shorten_middle(text, count), size) > width:
        count -= 1
    return shorten_middle(text, count)


def _overlap(one: Region, other: Region) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
