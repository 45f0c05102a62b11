"""The contact sheet: new pictures side by side, so that a person sees at a glance what goes into training."""

from __future__ import annotations

import io
import random
from pathlib import Path

from cascade.probability import LABELS
from tasks.common.sheets import Cells, Tile, contact_sheet
from tasks.synthesis.screen import ScreenedImages
from tasks.synthesis.work import SyntheticImage

CELLS = Cells(width=240, height=180, columns=4, edge=4, caption=16)  # px
MOST = 48  # pictures
ORANGE, BLUE, RED, INK = (214, 110, 0), (40, 90, 170), (190, 20, 30), (20, 20, 20)


def draw_sheet(screened: ScreenedImages, path: Path, seed: int) -> None:
    """Write a JPEG: roadwork framed orange, clear blue, to review red; a seeded choice where there are many.

    Args:
        screened: accepted pictures and those to review; duplicates are not shown.
        path: where it goes.
        seed: of the choice.
    """
    contact_sheet([_tile(picture, p) for picture, p in _choose(screened, seed)], path, CELLS, ink=INK)


def caption(picture: SyntheticImage, p: float | None) -> str:
    """Label, slices, and the head's probability where it contradicts the label."""
    slices = ", ".join(picture.row.slices.get(name) or "?" for name in ("road", "time", "weather"))
    return f"{LABELS[picture.row.label]}: {slices}" + ("" if p is None else f"  p={p:.3f} REVIEW")


def _choose(screened: ScreenedImages, seed: int) -> list[tuple[SyntheticImage, float | None]]:
    every: list[tuple[SyntheticImage, float | None]] = [(picture, None) for picture in screened.accepted]
    every += list(zip(screened.review, screened.probability, strict=True))
    if len(every) > MOST:
        every = random.Random(seed).sample(every, MOST)  # noqa: S311 - no secret
    return sorted(every, key=lambda item: (item[1] is not None, -item[0].row.label, item[0].row.name))


def _tile(picture: SyntheticImage, p: float | None) -> Tile:
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(picture.row.data)) as image:
        fitted = ImageOps.fit(image.convert("RGB"), (CELLS.width, CELLS.height))
    frame = RED if p is not None else ORANGE if picture.row.label else BLUE
    return Tile(fitted, caption(picture, p), frame)
