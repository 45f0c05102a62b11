"""A font that has the characters of a text: Pillow's own, or one of the system's for words beyond ASCII."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

# looked up where the system keeps its fonts; none of them has to be there
SYSTEM_FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf")
# no font has this code point, so it is drawn as a missing character is
NO_CHARACTER = "\uffff"


def fit_font(text: str, size: int) -> tuple[FreeTypeFont, str]:
    """Give a font of `size` px for a text, and the text as that font can show it.

    Where no font has all of its characters, accents are dropped, and what is still missing becomes a question mark.
    """
    for name in ("", *(SYSTEM_FONTS if not text.isascii() else ())):
        font = _font(name, size)
        if font is not None and all(_has(name, character) for character in text):
            return font, text
    own = _font("", size)
    assert own is not None, "Pillow brings its own font"  # noqa: S101
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return own, "".join(character if _has("", character) else "?" for character in plain)


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> FreeTypeFont | None:
    from PIL import ImageFont

    if not name:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont), "Pillow's wheels come with FreeType"  # noqa: S101
        return font
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _has(name: str, character: str) -> bool:
    font = _font(name, 20)
    if font is None:
        return False
    return character == " " or _drawn(font, character) != _drawn(font, NO_CHARACTER)


def _drawn(font: FreeTypeFont, character: str) -> bytes:
    return bytes(font.getmask(character))
