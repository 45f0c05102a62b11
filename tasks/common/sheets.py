"""Contact sheets: pictures side by side in one JPEG, for people. The same pictures give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.common.files import write_bytes

if TYPE_CHECKING:
    from PIL import Image

LINE = 14  # px that a line of Pillow's built-in font takes
MARGIN = 3  # px, at least, between the edge of a cell and its caption
Colour = str | tuple[int, int, int]


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Attributes:
        image: RGB; a larger one than the sheet's cells is shrunk, a smaller one is centred.
        caption: one line below it.
        frame: colour around it, where the sheet has an edge.
    """

    image: Image.Image
    caption: str = ""
    frame: Colour | None = None


@dataclass(frozen=True)
class Cells:
    """How the cells of a sheet are laid out, px.

    Attributes:
        width, height: of the picture in a cell.
        columns: cells side by side, at most.
        edge: around the picture.
        caption: height of the strip below it; 0 for sheets without captions.
    """

    width: int
    height: int
    columns: int
    edge: int = 0
    caption: int = 0


def contact_sheet(
    tiles: Sequence[Tile],
    path: Path,
    cells: Cells,
    *,
    background: Colour = "white",
    ink: Colour = "black",
    quality: int = 82,
) -> None:
    """Write a sheet as JPEG in one step, row by row; without any picture it is one empty cell.

    Args:
        tiles: the pictures, in order.
        path: the file.
        cells: their size.
        background: what shows beside and below the pictures.
        ink: of the captions.
        quality: of the JPEG.
    """
    from PIL import Image

    columns = min(cells.columns, max(1, len(tiles)))
    rows = max(1, -(-len(tiles) // columns))
    wide, high = cells.width + 2 * cells.edge, cells.height + 2 * cells.edge + cells.caption
    sheet = Image.new("RGB", (columns * wide, rows * high), background)
    for number, tile in enumerate(tiles):
        cell = _cell(tile, cells, background, ink)
        sheet.paste(cell, (number % columns * wide, number // columns * high))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=quality)
    write_bytes(path, stream.getvalue())


def _cell(tile: Tile, cells: Cells, background: Colour, ink: Colour) -> Image.Image:
    """A picture in its frame, with its caption."""
    from PIL import Image, ImageDraw

    wide, top = cells.width + 2 * cells.edge, cells.height + 2 * cells.edge
    cell = Image.new("RGB", (wide, top + cells.caption), background)
    if tile.frame is not None:
        cell.paste(tile.frame, (0, 0, wide, top))
    image = tile.image.copy()
    image.thumbnail((cells.width, cells.height))
    cell.paste(image, ((wide - image.width) // 2, (top - image.height) // 2))
    if cells.caption:
        # Pillow's built-in font knows Latin-1 alone
        text = tile.caption.encode("latin-1", "replace").decode("latin-1")
        place = (max(cells.edge, MARGIN), top + max(0, cells.caption - LINE))
        ImageDraw.Draw(cell).text(place, text, fill=ink)
    return cell
