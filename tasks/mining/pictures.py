"""Pictures for people: a batch's contact sheet and the map of the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.common.plots import new_figure, save_figure
from tasks.common.sheets import Cells, Tile, contact_sheet
from tasks.data.pictures import decode_stored

CELLS = Cells(width=200, height=150, columns=8, caption=14)  # px
SHEET_PICTURES = 400  # a sheet is viewed as a whole, so that of larger batches only the first are shown
COLOURS = {"train": "#c7c7c7", "calibration": "#9ecae1", "challenge": "#fdae6b", "candidate": "#636363"}
CHOSEN = "#d62728"


def batch_sheet(pictures: Sequence[tuple[bytes, str]], target: Path) -> None:
    """Write the first pictures of a batch side by side as a JPEG.

    Args:
        pictures: file content and caption of each, in order.
        target: the JPEG.
    """
    contact_sheet([_tile(data, caption) for data, caption in pictures[:SHEET_PICTURES]], target, CELLS)


def _tile(data: bytes, caption: str) -> Tile:
    """Shrunk at once: hundreds of photographs in full size do not fit in memory."""
    image = decode_stored(data)
    image.thumbnail((CELLS.width, CELLS.height))
    return Tile(image, caption)


def draw_map(points: NDArray[np.float64], parts: Sequence[str], chosen: NDArray[np.bool_], target: Path) -> None:
    """Draw embeddings in two dimensions, a colour for each part.

    Args:
        points: (n, 2).
        parts: the part of each point, (n,).
        chosen: which points are drawn on top as chosen, (n,).
        target: the PNG.
    """
    figure, axes = new_figure(6.4, 5.2)
    every = np.asarray(parts)
    for part, colour in COLOURS.items():
        rows = (every == part) & ~chosen
        axes.scatter(points[rows, 0], points[rows, 1], s=9, color=colour, label=f"{part} ({rows.sum()})", linewidths=0)
    axes.scatter(points[chosen, 0], points[chosen, 1], s=24, color=CHOSEN, marker="x", label=f"chosen ({chosen.sum()})")
    axes.set(xticks=[], yticks=[], title="embeddings, first two principal components")
    axes.legend(fontsize=8)
    save_figure(figure, target)
