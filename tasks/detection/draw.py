"""A sheet of views with what is there and what both detectors see, for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from cascade.detection.agreement import AgreementRule
from tasks.common.sheets import Cells, Tile, contact_sheet
from tasks.config.detect import DetectParams
from tasks.data.annotated_images import AnnotatedImage
from tasks.data.views import LEVELS
from tasks.detection.inference import DetectedView, true_views
from tasks.detection.samples import VIEW

COLUMNS, ROWS = 6, 4
SCALE = 1.5
COLOURS = ("#ffd000", "#00d5ff")
TRUTH = "#ffffff"


def draw_sheet(
    pictures: Sequence[AnnotatedImage],
    views: Sequence[DetectedView],
    rule: AgreementRule,
    names: Sequence[str],
    path: Path,
    params: DetectParams,
) -> None:
    """Write a JPEG of views, roadwork and clear by turns; truth white, the first detector yellow, the second cyan.

    Args:
        pictures: that the views are of.
        views: in any order.
        rule: boxes below its scores are left out.
        names: of the two detectors, for the legend.
        path: the file.
        params: section `detect`.
    """
    chosen = _chosen(views)
    by_key = {picture.key: picture for picture in pictures}
    side = round(VIEW * SCALE)
    tiles = []
    for item in chosen:
        images = {view.level: image for image, view in true_views(by_key[item.key], len(LEVELS), params)}
        tiles.append(Tile(_annotated(images[item.level].resize((side, side)), item, rule, names)))
    contact_sheet(tiles, path, Cells(side, side, COLUMNS), background="black", quality=85)


def _chosen(views: Sequence[DetectedView]) -> list[DetectedView]:
    """Three of roadwork to one clear, spread over the levels; the same every time."""
    firsts: dict[tuple[str, int], DetectedView] = {}
    for item in views:
        firsts.setdefault((item.key, item.level), item)
    ordered = sorted(firsts.values(), key=lambda item: item.key)
    works = [item for number, item in enumerate(item for item in ordered if item.label) if number % 5 == 0]
    clear = [item for number, item in enumerate(item for item in ordered if not item.label) if number % 5 == 0]
    quarter = COLUMNS * ROWS // 4
    return [*works[: 3 * quarter], *clear[:quarter]]


def _annotated(image: Image.Image, item: DetectedView, rule: AgreementRule, names: Sequence[str]) -> Image.Image:
    draw = ImageDraw.Draw(image)
    for corners in item.truth.corners:
        draw.rectangle([float(value) * SCALE for value in corners], outline=TRUTH)
    for boxes, low, colour in zip(item.boxes, rule.seen, COLOURS, strict=True):
        for box in boxes:
            if box.score >= low:
                draw.rectangle([value * SCALE for value in box.corners], outline=colour)
                draw.text((box.corners[0] * SCALE + 2, box.corners[1] * SCALE), _short(box.category), fill=colour)
    legend = f"level {item.level}, " + ", ".join(
        f"{name} {sum(box.score >= low for box in boxes)}"
        for name, boxes, low in zip(names, item.boxes, rule.seen, strict=True)
    )
    draw.text((4, 4), f"{legend} of {len(item.truth.classes)}", fill=TRUTH)
    return image


def _short(category: str) -> str:
    return category[:2]
