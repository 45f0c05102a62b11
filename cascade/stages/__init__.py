"""The stages of the cascade: each is loaded, asked with a batch, and unloaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL import Image

    from cascade.router import Outcome


class Stage(Protocol):
    """One stage. `predict` may be called from several threads at once."""

    name: str
    memory_bytes: int

    def load(self) -> None:
        """Load and warm up; afterwards `memory_bytes` is what that took, as measured."""
        ...

    def predict(self, images: Sequence[Image.Image]) -> list[Outcome]:
        """Look at upright RGB images and give one outcome each, in their order."""
        ...

    def unload(self) -> None:
        """Give the memory back."""
        ...
