"""Lines of text as a reader gives them, and the contract of a reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[float, float, float, float]


class OcrError(ValueError):
    """The text reader's files are missing or unusable."""


@dataclass(frozen=True)
class TextLine:
    """One line as read: its text, the reader's score (None where it gives none), x, y, w, h in px."""

    text: str
    score: float | None
    box: Box

    def enlarged(self, scale: float) -> TextLine:
        """The line in a picture that was shrunk by `scale` before it was read."""
        x, y, w, h = (round(float(value) / scale, 1) for value in self.box)
        return TextLine(self.text, self.score, (x, y, w, h))


class TextReader(Protocol):
    """What finds and reads lines; `read` may be called from several threads at once.

    Attributes:
        reads_together: whether all pictures of a call cost it about as much as one.
    """

    reads_together: bool

    def read(self, images: Sequence[Image.Image]) -> list[list[TextLine]]:
        """Give the lines of each upright RGB picture, in any order."""
        ...


def around(quad: Sequence[float]) -> Box:
    """Box around the corners x0, y0, x1, y1, ..."""
    xs, ys = quad[0::2], quad[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
