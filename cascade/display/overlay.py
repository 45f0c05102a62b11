"""Draws on a picture what the stages saw: boxes of both detectors, words, and a caption with the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascade.display.canvas import Canvas, Region
from cascade.display.text import printable
from cascade.stages.base import StageResult

if TYPE_CHECKING:
    from PIL import Image

    from cascade.core.cascade import Prediction
    from cascade.video.clip import ClipPrediction

# px of the longer side: small pictures are enlarged, so that labels have room beside the objects
MIN_SIDE, MAX_SIDE = 960, 1920
# one a detector, in the order of the trace; words
DETECTOR_COLOURS = ("#ffd000", "#00d5ff")
WORD_COLOUR = "#ff6ad5"
LABEL_COLOURS = {"roadwork": "#e86a00", "clear": "#1f7a4d"}


@dataclass(frozen=True)
class Mark:
    """One object or line of text on the picture.

    Attributes:
        corners: x1, y1, x2, y2 in px of the picture.
        text: of its label.
        width: of its frame, thousandths of the picture's longer side.
        below: its label goes below it where there is room, otherwise above.
        covered: other labels may cover it.
    """

    corners: Region
    text: str
    colour: str
    width: int
    below: bool
    covered: bool


def draw(image: Image.Image, prediction: Prediction | ClipPrediction, title: str) -> Image.Image:
    """Give a copy of a picture with boxes and words on it and a caption below.

    Args:
        image: upright RGB, as it was predicted.
        prediction: of the image; of a clip whose telling frame it is.
        title: of the caption, the file's path for example.

    Returns:
        RGB, its longer side between `MIN_SIDE` and `MAX_SIDE` px and at least `canvas.MIN_WIDTH` px wide.
    """
    from cascade.core.cascade import Prediction

    stages = prediction.stages if isinstance(prediction, Prediction) else prediction.frame.stages
    scale = min(max(MIN_SIDE / max(image.size), 1.0), MAX_SIDE / max(image.size))
    canvas, boxes, words = Canvas(image, scale), _items(stages, "boxes"), _items(stages, "lines")
    marks = [*_word_marks(words), *_box_marks(boxes)]
    # the most telling frames last, so that they lie on top; their labels first, so that they find room
    for mark in reversed(marks):
        canvas.frame(mark.corners, mark.colour, mark.width, covered=mark.covered)
    for mark in marks:
        canvas.label(mark.corners, mark.text, mark.colour, below=mark.below)
    canvas.add_caption(
        headline=_headline(prediction),
        colour=LABEL_COLOURS[prediction.label],
        lines=[printable(prediction.reason), ", ".join(map(_short, stages)), printable(title)],
        legend=_legend(boxes, words),
    )
    return canvas.image


def _box_marks(boxes: list[Any]) -> list[Mark]:
    """Boxes of both detectors, best first; of a pair the first detector's frame is wider, so that both are seen."""
    names = _detectors(boxes)
    ordered = sorted(boxes, key=lambda box: (-box["matched"], -names.index(box["detector"]), -box["score"]))
    return [
        Mark(
            tuple(box["corners"]),
            f"{box['category']} {box['score']:.2f}",
            DETECTOR_COLOURS[names.index(box["detector"])],
            width=(3 if names.index(box["detector"]) else 6) if box["matched"] else 2,
            below=names.index(box["detector"]) > 0,
            covered=True,
        )
        for box in ordered
    ]


def _word_marks(lines: list[Any]) -> list[Mark]:
    regions = [(x, y, x + w, y + h) for x, y, w, h in (line["box"] for line in lines)]
    return [
        Mark(region, printable(str(line["text"])), WORD_COLOUR, width=2, below=True, covered=False)
        for region, line in zip(regions, lines, strict=True)
    ]


def _legend(boxes: list[Any], words: list[Any]) -> list[tuple[str, str]]:
    counts, colours = Counter(str(box["detector"]) for box in boxes), iter(DETECTOR_COLOURS)
    legend = [(next(colours), f"{name}: {counts[name]} objects") for name in _detectors(boxes)]
    if shared := sum(box["matched"] for box in boxes) // 2:
        legend.append(("", f"thick: {shared} seen by both"))
    return [*legend, (WORD_COLOUR, f"text: {len(words)} lines")] if words else legend


def _headline(prediction: Prediction | ClipPrediction) -> str:
    by, milliseconds = prediction.decided_by, prediction.milliseconds
    return f"{prediction.label}  {prediction.probability:.3f}  decided by {by} in {milliseconds:.0f} ms"


def _short(result: StageResult) -> str:
    if result.skipped:
        return f"{result.stage} skipped: {result.skipped}"
    return f"{result.stage} {'no estimate' if result.probability is None else f'{result.probability:.2f}'}"


def _detectors(boxes: list[Any]) -> list[str]:
    """Names of the detectors in the order of the trace."""
    return list(dict.fromkeys(str(box["detector"]) for box in boxes))


def _items(stages: Sequence[StageResult], key: str) -> list[Any]:
    lists = [result.detail.get(key) for result in stages]
    return [item for found in lists if isinstance(found, list) for item in found]
