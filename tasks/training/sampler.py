"""The order in which pictures are shown: a function of a seed and a number alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.data.views import generator

if TYPE_CHECKING:
    from tasks.data.annotated_images import AnnotatedImage


class ShuffledSampler:
    """An endless seeded sequence: each epoch shows every picture, in an order and under views of its own.

    Sample i depends on the pictures, the seed and i alone, so a training that was stopped goes on where it was.

    Args:
        pictures: of the training split.
        seed: of the run.
        size: px a side of a sample.
        colour_jitter: see `tasks.training.camera.jitter`.
        draws: how many different views of a picture there are before they come again; None for no end.
        times: how often an epoch shows each picture, never under the same view; None for once.
    """

    def __init__(
        self,
        pictures: list[AnnotatedImage],
        *,
        seed: int,
        size: int,
        colour_jitter: float,
        draws: int | None = None,
        times: Sequence[int] | None = None,
    ) -> None:
        self.pictures, self.seed, self.size, self.colour_jitter = pictures, seed, size, colour_jitter
        self._draws = draws
        self._most = max(times) if times else 1
        repeats = times or [1] * len(pictures)
        self._turns = [(number, turn) for number, count in enumerate(repeats) for turn in range(count)]

    def key(self, index: int) -> tuple[int, int]:
        """Which picture, and which of its views, sample `index` is."""
        epoch, place = divmod(index, len(self._turns))
        order = generator(f"{self.seed}:order:{epoch}").permutation(len(self._turns))
        number, turn = self._turns[int(order[place])]
        draw = epoch * self._most + turn
        return number, draw % self._draws if self._draws else draw
