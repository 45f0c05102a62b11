"""The contact sheet: new pictures side by side, so that a person sees at a glance what goes into training."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.probability import LABELS
from tasks.common.files import write_bytes
from tasks.synthesis.screen import ScreenedImages
from tasks.synthesis.work import SyntheticImage

if TYPE_CHECKING:
    from PIL import Image

COLUMNS, MOST = 4, 48
WIDTH, HEIGHT, CAPTION, EDGE = 240, 180, 16, 4  # px
ORANGE, BLUE, RED, INK = (214, 110, 0), (40, 90, 170), (190, 20, 30), (20, 20, 20)


def draw_sheet(kept: ScreenedImages, path: Path, seed: int) -> None:
    """Write a JPEG: roadwork framed orange, clear blue, to review red; a seeded choice where there are many.

    Args:
        kept: what was screened; duplicates are not shown.
        path: where it goes.
        seed: of the choice.
    """
    from PIL import Image

    chosen = _choose(kept, seed)
    rows = max(1, -(-len(chosen) // COLUMNS))
    cell_width, cell_height = WIDTH + 2 * EDGE, HEIGHT + 2 * EDGE + CAPTION
    sheet = Image.new("RGB", (COLUMNS * cell_width, rows * cell_height), "white")
    for index, (picture, p) in enumerate(chosen):
        at = ((index % COLUMNS) * cell_width, index // COLUMNS * cell_height)
        sheet.paste(_cell(picture, p, (cell_width, cell_height)), at)
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=82)
    write_bytes(path, buffer.getvalue())


def _choose(kept: ScreenedImages, seed: int) -> list[tuple[SyntheticImage, float | None]]:
    every: list[tuple[SyntheticImage, float | None]] = [(picture, None) for picture in kept.accepted]
    every += list(zip(kept.review, kept.probability, strict=True))
    if len(every) > MOST:
        every = random.Random(seed).sample(every, MOST)  # noqa: S311 - no secret
    return sorted(every, key=lambda item: (item[1] is not None, -item[0].row.label, item[0].row.name))


def _cell(picture: SyntheticImage, p: float | None, size: tuple[int, int]) -> Image.Image:
    from PIL import Image, ImageDraw, ImageOps

    frame = RED if p is not None else ORANGE if picture.row.label else BLUE
    cell = Image.new("RGB", size, frame)
    with Image.open(io.BytesIO(picture.row.data)) as image:
        cell.paste(ImageOps.fit(image.convert("RGB"), (WIDTH, HEIGHT)), (EDGE, EDGE))
    pen = ImageDraw.Draw(cell)
    top = HEIGHT + 2 * EDGE
    pen.rectangle([0, top, size[0], size[1]], fill="white")
    pen.text((EDGE, top + 2), caption(picture, p), fill=INK)
    return cell


def caption(picture: SyntheticImage, p: float | None) -> str:
    """Label, slices, and the head's probability where it contradicts."""
    slices = ", ".join(picture.row.slices.get(name) or "?" for name in ("road", "time", "weather"))
    return f"{LABELS[picture.row.label]}: {slices}" + ("" if p is None else f"  p={p:.3f} REVIEW")
