"""Mining on Ray: actors read what mining keeps under var/media, pictures to score or embeddings to choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from tasks.config.scale import ScaleParams
from tasks.mining.coresets import CentreChooser, Centres, Shard, Spread, in_turn
from tasks.mining.media import MEDIA, media_file
from tasks.mining.mine import MiningEngine
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


class ShardWorker:
    """A worker: chooses the centres of one shard of a selection after the other."""

    def __init__(self, chooser: CentreChooser) -> None:
        self._chooser = chooser

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, shard: Shard) -> Iterator[Centres]:
        """Choose from a shard."""
        yield self._chooser(shard)


def _spread(scale: ScaleParams, chooser: CentreChooser, shards: Sequence[Shard]) -> Iterator[Centres]:
    yield from run_items(scale, partial(ShardWorker, chooser), shards)


def spread_on(scale: ScaleParams) -> Spread:
    """What works on the shards of a selection: Ray where the embeddings lie in a file, else this process."""
    return partial(_spread, scale) if scale.engine == "ray" and scale.selection.vectors == "disk" else in_turn


def mining_on(scale: ScaleParams, media: Path = MEDIA) -> MiningEngine:
    """What mining runs on, by section `scale`."""
    return MiningEngine(scorer_on(scale, media), scale.selection, spread_on(scale))


def scorer_on(scale: ScaleParams, media: Path = MEDIA) -> MakeScorer:
    """What makes the scorer for this engine; `ProbeScorer` itself for the local one."""
    return partial(PoolScorer, scale, media) if scale.engine == "ray" else ProbeScorer
