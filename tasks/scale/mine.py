"""The probe's scores of a pool on Ray: actors read the files that mining keeps under var/media, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

from tasks.config.scale import ScaleParams
from tasks.mining.media import MEDIA, media_file
from tasks.mining.scorer import ProbeScorer, ProbeScores, gather_scores
from tasks.scale.engine import run_items

MakeScorer = Callable[[Path, Path, Path | None, int], ProbeScorer]


class BatchScorer:
    """A worker: `ProbeScorer` over pictures that lie in a folder."""

    def __init__(self, backbone: Path, head: Path, features: Path | None, batch_size: int, media: Path) -> None:
        self._given, self._media = (backbone, head, features, batch_size), media

    def __enter__(self) -> Self:
        self._scorer = ProbeScorer(*self._given)
        return self

    def __exit__(self, *_: object) -> None:
        del self._scorer

    def __call__(self, keys: list[str]) -> Iterator[ProbeScores]:
        """Score the pictures of a batch."""
        yield self._scorer.score((key, media_file(key, self._media).read_bytes()) for key in keys)


class PoolScorer(ProbeScorer):
    """Scores pictures on the engine of section `scale`, in the batches of `ProbeScorer`.

    Args:
        scale: section `scale`.
        media: folder that holds the picture of each key by the time it has been handed to `score`.
        backbone: as for `ProbeScorer`, and so are the others.
    """

    def __init__(
        self, scale: ScaleParams, media: Path, backbone: Path, head: Path, features: Path | None, batch_size: int
    ) -> None:
        super().__init__(backbone, head, features, batch_size)
        self._scale, self._size = scale, batch_size
        stored = features.resolve() if features else None
        self._make = partial(BatchScorer, backbone.resolve(), head.resolve(), stored, batch_size, media.resolve())

    def score(self, pictures: Iterable[tuple[str, bytes]], disk: Path | None = None) -> ProbeScores:
        """See `ProbeScorer.score`; keeps keys alone, and no picture."""
        keys = [key for key, _ in pictures]
        batches = [keys[start : start + self._size] for start in range(0, len(keys), self._size)]
        return gather_scores(run_items(self._scale, self._make, batches), self.width, disk)


def scorer_on(scale: ScaleParams, media: Path = MEDIA) -> MakeScorer:
    """What makes the scorer for this engine; `ProbeScorer` itself for the local one."""
    return partial(PoolScorer, scale, media) if scale.engine == "ray" else ProbeScorer
