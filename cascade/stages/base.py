"""The stages of the cascade: each is loaded, asked with a batch, and unloaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL import Image

    from cascade.core.router import StageResult


class Stage(Protocol):
    """One stage. `predict` may be called from several threads at once.

    Attributes:
        name: in traces, params and the release's settings.
        memory_bytes: what loading took, measured; before `load` an estimate, or 0 where there is none.
    """

    name: str
    memory_bytes: int

    def load(self) -> None:
        """Load and warm up; afterwards `memory_bytes` is what that took, as measured."""
        ...

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        """Look at upright RGB images and give one outcome each, in their order.

        Args:
            images: upright RGB, any size.
            priors: the best estimate of the stages before, one an image, 0.5 where none has an opinion; None where no
                stage came before.

        Raises:
            Exception: whatever it is, the cascade goes on without this stage and says so in the trace.
        """
        ...

    def unload(self) -> None:
        """Give the memory back."""
        ...
