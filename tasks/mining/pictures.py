"""Pictures for people: a batch's contact sheet and the map of the embeddings."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cascade.preprocess.image import decode
from tasks.common.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

COLUMNS, WIDTH, HEIGHT, LINE = 8, 200, 150, 14
# a sheet is to be looked at: of larger batches it shows the first
SHEET_PICTURES = 400
ANY_SIZE = 1 << 40
COLOURS = {"train": "#c7c7c7", "calibration": "#9ecae1", "challenge": "#fdae6b", "candidate": "#636363"}
CHOSEN = "#d62728"


def contact_sheet(pictures: Sequence[tuple[bytes, str]], target: Path) -> None:
    """Write pictures side by side as a JPEG, each with a line of text below.

    Args:
        pictures: file content and text, in order.
        target: the JPEG.
    """
    from PIL import Image

    shown = pictures[:SHEET_PICTURES]
    rows = max(1, -(-len(shown) // COLUMNS))
    sheet = Image.new("RGB", (min(len(shown) or 1, COLUMNS) * WIDTH, rows * (HEIGHT + LINE)), "white")
    for index, (data, text) in enumerate(shown):
        _paste(sheet, data, text, (index % COLUMNS) * WIDTH, (index // COLUMNS) * (HEIGHT + LINE))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=82)
    write_bytes(target, stream.getvalue())


def _paste(sheet: Image.Image, data: bytes, text: str, left: int, top: int) -> None:
    from PIL import ImageDraw

    image = decode(data, max_pixels=ANY_SIZE, min_side=1)
    image.thumbnail((WIDTH, HEIGHT))
    sheet.paste(image, (left + (WIDTH - image.width) // 2, top + (HEIGHT - image.height) // 2))
    # Pillow's built-in font knows Latin-1 alone
    ImageDraw.Draw(sheet).text((left + 3, top + HEIGHT), text.encode("latin-1", "replace").decode("latin-1"), fill=0)


def draw_map(points: NDArray[np.float64], parts: Sequence[str], chosen: NDArray[np.bool_], target: Path) -> None:
    """Draw where pictures lie: `points` (n, 2), a colour for each part, the chosen ones (n,) on top."""
    figure = new_figure(6.4, 5.2)
    axes = figure.add_subplot()
    every = np.asarray(parts)
    for part, colour in COLOURS.items():
        rows = (every == part) & ~chosen
        axes.scatter(points[rows, 0], points[rows, 1], s=9, color=colour, label=f"{part} ({rows.sum()})", linewidths=0)
    axes.scatter(points[chosen, 0], points[chosen, 1], s=24, color=CHOSEN, marker="x", label=f"chosen ({chosen.sum()})")
    axes.set(xticks=[], yticks=[], title="embeddings, first two principal components")
    axes.legend(fontsize=8)
    save_figure(figure, target)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as figure_class

    figure = figure_class(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, target: Path) -> None:
    """Write a PNG in one step; the same numbers give the same bytes."""
    stream = io.BytesIO()
    # the version of matplotlib would be the only thing to differ
    figure.savefig(stream, format="png", metadata={"Software": None})
    write_bytes(target, stream.getvalue())
