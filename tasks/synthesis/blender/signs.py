"""Sign faces drawn with Pillow: temporary roadwork signs, which make a picture positive, and permanent ones."""

from __future__ import annotations

import math
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE = 384  # px a side, ample for a 416 px picture
ORANGE, YELLOW, RED, WHITE, BLACK = (255, 112, 10), (252, 200, 20), (200, 20, 30), (245, 245, 240), (15, 15, 15)
GREEN, BLUE = (0, 105, 70), (10, 70, 165)

WORKS = {
    "us": [
        "ROAD WORK AHEAD",
        "RIGHT LANE CLOSED",
        "ONE LANE ROAD",
        "UTILITY WORK",
        "ROAD WORK 500 FT",
        "DETOUR",
        "MERGE LEFT",
        "END ROAD WORK",
    ],
    "eu": ["men", "men", "men", "narrow", "RUE BARREE", "UMLEITUNG", "ROAD CLOSED", "LAVORI IN CORSO"],
    "asia": ["men", "工事中", "この先工事中", "徐行", "施工", "ROAD WORKS"],
}
PLAIN = {
    "us": ["SPEED LIMIT 35", "STOP", "curve", "cross", "EXIT 12", "ONE WAY", "NO PARKING", "SCHOOL", "signal"],
    "eu": ["limit 50", "limit 30", "yield", "curve_eu", "child_eu", "noentry", "parking", "priority", "bend_eu"],
    "asia": ["limit 40", "curve", "noentry", "parking", "止まれ", "cross", "limit 60", "deer"],
}


def face(kind: str, region: str, works: bool, folder: Path) -> tuple[str, float, float]:
    """Draw a sign face once; returns its path and its width and height in metres."""
    path = folder / f"sign_{region}_{'w' if works else 'p'}_{kind.replace(' ', '_')}.png"
    image, width, height = _draw(kind, region, works)
    if not path.exists():
        image.save(path)
    return str(path), width, height


def choose(rng: random.Random, region: str, works: bool) -> str:
    """Pick a sign kind of a region."""
    return rng.choice((WORKS if works else PLAIN)[region])


def _draw(kind: str, region: str, works: bool) -> tuple[Image.Image, float, float]:
    if works:
        if region == "us":
            return (
                (_board(kind, ORANGE, BLACK), 1.5, 0.75)
                if kind in ("DETOUR", "END ROAD WORK")
                else (_diamond(ORANGE, kind), 1.35, 1.35)
            )
        if kind in ("men", "narrow"):
            colour = YELLOW if region == "eu" and kind == "men" else WHITE
            return (_triangle(kind, colour), 1.05, 0.95) if region == "eu" else (_diamond(YELLOW, "", "men"), 1.0, 1.0)
        return _board(kind, YELLOW if region == "eu" else ORANGE, BLACK), 1.3, 0.65
    if kind.startswith("limit"):
        return _disc(kind.split()[1]), 0.7, 0.7
    table = {
        "curve": (_diamond(YELLOW, "", "curve"), 0.9, 0.9),
        "cross": (_diamond(YELLOW, "", "cross"), 0.9, 0.9),
        "signal": (_diamond(YELLOW, "", "signal"), 0.9, 0.9),
        "deer": (_diamond(YELLOW, "", "curve"), 0.9, 0.9),
        "yield": (_triangle("", WHITE, down=True), 0.9, 0.8),
        "curve_eu": (_triangle("curve", WHITE), 0.9, 0.8),
        "child_eu": (_triangle("child", WHITE), 0.9, 0.8),
        "bend_eu": (_triangle("curve", WHITE), 0.9, 0.8),
        "noentry": (_no_entry(), 0.7, 0.7),
        "parking": (_board("P", BLUE, WHITE, square=True), 0.6, 0.6),
        "priority": (_diamond(YELLOW, "", "", edge=WHITE), 0.7, 0.7),
        "STOP": (_stop(), 0.8, 0.8),
        "止まれ": (_triangle("", RED, down=True, rim=WHITE), 0.9, 0.8),
    }
    if kind in table:
        return table[kind]
    if kind.startswith("EXIT"):
        return _board(kind, GREEN, WHITE), 2.4, 1.2
    return _board(kind, WHITE, BLACK), 0.65, 0.8


def _canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    return image, ImageDraw.Draw(image)


def _font(size: int, text: str) -> ImageFont.FreeTypeFont:
    if any(ord(letter) > 0x2E80 for letter in text):
        import bpy

        found = sorted(Path(bpy.utils.resource_path("LOCAL"), "datafiles", "fonts").glob("Noto*CJK*.woff2"))
        if found:
            return ImageFont.truetype(str(found[0]), size)
    return ImageFont.load_default(size)


def _write(
    draw: ImageDraw.ImageDraw, text: str, box: tuple[float, float, float, float], colour: tuple[int, int, int]
) -> None:
    """Write words under one another as large as the box allows."""
    lines = text.split() if " " in text else [text]
    for size in range(120, 10, -4):
        font = _font(size, text)
        if (
            max(font.getlength(line) for line in lines) <= box[2] - box[0]
            and size * 1.12 * len(lines) <= box[3] - box[1]
        ):
            break
    top = (box[1] + box[3] - size * 1.12 * len(lines)) / 2
    for i, line in enumerate(lines):
        left = (box[0] + box[2] - font.getlength(line)) / 2
        for dx in (0, 2):
            draw.text((left + dx, top + i * size * 1.12), line, font=font, fill=colour)


def _diamond(
    colour: tuple[int, int, int], text: str, pictogram: str = "", edge: tuple[int, int, int] = BLACK
) -> Image.Image:
    image, draw = _canvas()
    half = SIZE / 2
    for radius, fill in ((half - 2, colour), (half - 14, edge), (half - 24, colour)):
        draw.polygon(
            [(half, half - radius), (half + radius, half), (half, half + radius), (half - radius, half)], fill=fill
        )
    if text:
        _write(draw, text, (SIZE * 0.22, SIZE * 0.24, SIZE * 0.78, SIZE * 0.76), BLACK)
    if pictogram:
        _pictogram(draw, pictogram, half, half, SIZE * 0.24)
    return image


def _triangle(
    pictogram: str, colour: tuple[int, int, int], down: bool = False, rim: tuple[int, int, int] = RED
) -> Image.Image:
    image, draw = _canvas()
    for shrink, fill in ((0.0, rim), (0.2, colour)):
        centre = (SIZE / 2, SIZE * 0.62)
        points = [(SIZE / 2, 12), (SIZE - 6, SIZE - 14), (6, SIZE - 14)]
        inner = [(x + (centre[0] - x) * shrink, y + (centre[1] - y) * shrink) for x, y in points]
        draw.polygon(inner, fill=fill)
    if pictogram:
        _pictogram(draw, pictogram, SIZE / 2, SIZE * 0.63, SIZE * 0.19)
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if down else image


def _pictogram(draw: ImageDraw.ImageDraw, kind: str, x: float, y: float, r: float) -> None:
    """Draw a black pictogram of radius `r` px around a point."""
    width = int(r * 0.26)
    if kind == "men":  # a digging man and his heap
        draw.ellipse((x - r * 0.25, y - r, x + r * 0.2, y - r * 0.55), fill=BLACK)
        draw.line(
            [(x, y - r * 0.5), (x - r * 0.35, y + r * 0.15), (x - r * 0.1, y + r * 0.85)], fill=BLACK, width=width
        )
        draw.line([(x - r * 0.35, y + r * 0.15), (x - r * 0.75, y + r * 0.85)], fill=BLACK, width=width)
        draw.line([(x, y - r * 0.4), (x + r * 0.35, y + r * 0.05)], fill=BLACK, width=width)
        draw.line([(x - r * 0.1, y - r * 0.15), (x + r * 0.75, y + r * 0.6)], fill=BLACK, width=max(3, width // 2))
        draw.polygon(
            [(x + r * 0.3, y + r * 0.9), (x + r * 0.75, y + r * 0.35), (x + r * 1.15, y + r * 0.9)], fill=BLACK
        )
    elif kind == "narrow":
        for side in (-1, 1):
            draw.line(
                [
                    (x + side * r * 0.7, y + r),
                    (x + side * r * 0.6, y),
                    (x + side * r * 0.2, y - r * 0.3),
                    (x + side * r * 0.2, y - r),
                ],
                fill=BLACK,
                width=width,
                joint="curve",
            )
    elif kind == "curve":
        draw.line(
            [(x - r * 0.4, y + r), (x - r * 0.4, y + r * 0.2), (x + r * 0.35, y - r * 0.3), (x + r * 0.35, y - r)],
            fill=BLACK,
            width=width,
        )
        draw.polygon([(x + r * 0.0, y - r * 0.7), (x + r * 0.7, y - r * 0.7), (x + r * 0.35, y - r * 1.25)], fill=BLACK)
    elif kind == "cross":
        draw.line([(x, y - r), (x, y + r)], fill=BLACK, width=width)
        draw.line([(x - r, y), (x + r, y)], fill=BLACK, width=width)
    elif kind == "signal":
        for i, colour in enumerate((RED, YELLOW, GREEN)):
            draw.ellipse((x - r * 0.3, y - r + i * r * 0.7, x + r * 0.3, y - r * 0.4 + i * r * 0.7), fill=colour)
    else:  # two walking children
        for shift in (-0.4, 0.4):
            cx = x + shift * r
            draw.ellipse((cx - r * 0.18, y - r * 0.9, cx + r * 0.18, y - r * 0.5), fill=BLACK)
            draw.line([(cx, y - r * 0.5), (cx, y + r * 0.2)], fill=BLACK, width=width)
            draw.line(
                [(cx - r * 0.25, y + r * 0.9), (cx, y + r * 0.15), (cx + r * 0.25, y + r * 0.9)],
                fill=BLACK,
                width=width,
            )


def _board(text: str, ground: tuple[int, int, int], ink: tuple[int, int, int], square: bool = False) -> Image.Image:
    image, draw = _canvas()
    draw.rounded_rectangle((4, 4, SIZE - 4, SIZE - 4), 24, fill=ground, outline=ink, width=10)
    margin = 90 if square else 34
    _write(draw, text, (margin, 30, SIZE - margin, SIZE - 30), ink)
    return image


def _disc(text: str) -> Image.Image:
    image, draw = _canvas()
    draw.ellipse((4, 4, SIZE - 4, SIZE - 4), fill=RED)
    draw.ellipse((48, 48, SIZE - 48, SIZE - 48), fill=WHITE)
    _write(draw, text, (80, 90, SIZE - 80, SIZE - 90), BLACK)
    return image


def _no_entry() -> Image.Image:
    image, draw = _canvas()
    draw.ellipse((4, 4, SIZE - 4, SIZE - 4), fill=RED)
    draw.rectangle((60, SIZE / 2 - 34, SIZE - 60, SIZE / 2 + 34), fill=WHITE)
    return image


def _stop() -> Image.Image:
    image, draw = _canvas()
    for radius, fill in ((SIZE / 2 - 2, WHITE), (SIZE / 2 - 14, RED)):
        points = [
            (
                SIZE / 2 + radius * math.cos(math.pi * (2 * i + 1) / 8),
                SIZE / 2 + radius * math.sin(math.pi * (2 * i + 1) / 8),
            )
            for i in range(8)
        ]
        draw.polygon(points, fill=fill)
    _write(draw, "STOP", (60, 110, SIZE - 60, SIZE - 110), WHITE)
    return image
