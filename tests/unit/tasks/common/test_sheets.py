"""Contact sheets: where the pictures of a sheet end up, and that nothing of a sheet depends on the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tasks.common.sheets import Cells, Tile, contact_sheet

CELLS = Cells(width=40, height=30, columns=3)


def tile(colour: str = "red", size: tuple[int, int] = (40, 30), **given: str) -> Tile:
    return Tile(Image.new("RGB", size, colour), **given)


def drawn(path: Path, tiles: list[Tile], cells: Cells = CELLS, **options: object) -> Image.Image:
    contact_sheet(tiles, path / "sheet.jpg", cells, **options)  # type: ignore[arg-type]
    return Image.open(path / "sheet.jpg").convert("RGB")


def is_near(pixel: object, wanted: tuple[int, int, int]) -> bool:
    """Whether a pixel has that colour, as far as JPEG keeps it."""
    return all(abs(value - other) < 30 for value, other in zip(pixel, wanted, strict=True))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("count", "cells", "size"),
    [
        # no picture: one empty cell
        (0, CELLS, (40, 30)),
        # fewer pictures than columns
        (2, CELLS, (80, 30)),
        (3, CELLS, (120, 30)),
        # a second row, not full
        (4, CELLS, (120, 60)),
        # edges and captions
        (1, Cells(40, 30, 3, edge=4, caption=16), (48, 54)),
    ],
)
def test_size_of_the_sheet(tmp_path: Path, count: int, cells: Cells, size: tuple[int, int]) -> None:
    assert drawn(tmp_path, [tile()] * count, cells).size == size


def test_pictures_go_row_by_row(tmp_path: Path) -> None:
    sheet = drawn(tmp_path, [tile("red"), tile("lime"), tile("blue"), tile("red")])
    for at, colour in [((20, 15), (255, 0, 0)), ((60, 15), (0, 255, 0)), ((100, 15), (0, 0, 255))]:
        assert is_near(sheet.getpixel(at), colour)
    assert is_near(sheet.getpixel((20, 45)), (255, 0, 0))
    assert is_near(sheet.getpixel((60, 45)), (255, 255, 255))


@pytest.mark.parametrize(
    ("size", "inside", "beside"),
    [
        # shrunk to the height of the cell, and centred
        ((60, 60), (20, 15), (2, 15)),
        # a small one is not enlarged
        ((10, 10), (20, 15), (10, 15)),
    ],
)
def test_a_picture_of_another_shape_is_centred(
    tmp_path: Path, size: tuple[int, int], inside: tuple[int, int], beside: tuple[int, int]
) -> None:
    sheet = drawn(tmp_path, [tile(size=size)])
    assert is_near(sheet.getpixel(inside), (255, 0, 0))
    assert is_near(sheet.getpixel(beside), (255, 255, 255))


def test_the_frame_goes_around_the_picture_and_not_around_the_caption(tmp_path: Path) -> None:
    sheet = drawn(tmp_path, [tile(frame="blue")], Cells(40, 30, 3, edge=8, caption=16), quality=95)
    assert is_near(sheet.getpixel((2, 2)), (0, 0, 255))
    assert is_near(sheet.getpixel((28, 23)), (255, 0, 0))
    assert is_near(sheet.getpixel((2, 58)), (255, 255, 255))


def test_a_caption_may_hold_any_letter(tmp_path: Path) -> None:
    cells = Cells(40, 30, 3, caption=16)
    blank, text = (drawn(tmp_path, [tile(caption=given)], cells) for given in ("", "日本 é"))
    assert blank.crop((0, 30, 40, 46)).getextrema() != text.crop((0, 30, 40, 46)).getextrema()


def test_the_same_pictures_give_the_same_bytes_and_stay_as_they_are(tmp_path: Path) -> None:
    given = [tile(size=(90, 90), caption="a")]
    for name in ("a.jpg", "b.jpg"):
        contact_sheet(given, tmp_path / name, Cells(40, 30, 3, caption=14))
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    assert given[0].image.size == (90, 90)
