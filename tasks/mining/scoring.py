"""Candidates and labelled splits with the probe's scores of them and their thumbnails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.data.near_duplicates import thumbnail
from tasks.data.pictures import decode_stored
from tasks.data.schema import read_records
from tasks.mining.media import keep_media
from tasks.mining.scorer import ProbeScorer, ProbeScores

if TYPE_CHECKING:
    from tasks.mining.sources import Candidate


@dataclass(frozen=True)
class Reference:
    """A labelled split.

    Attributes:
        part: its name.
        scores: of its n pictures.
        label: 0 or 1 of each.
        place: split key of each.
        thumbnails: grey levels, (n, 32, 32).
    """

    part: str
    scores: ProbeScores
    label: list[int]
    place: list[str]
    thumbnails: NDArray[np.uint8]


@dataclass(frozen=True)
class ScoredCandidates:
    """The candidates without their bytes, which lie under var/media.

    Attributes:
        all: each candidate once.
        scores: of these n candidates.
        thumbnails: grey levels, (n, 32, 32).
        repeated: how many more times one of them came.
    """

    all: list[Candidate]
    scores: ProbeScores
    thumbnails: NDArray[np.uint8]
    repeated: int


def score_candidates(
    scorer: ProbeScorer, candidates: Iterable[Candidate], media: Path, disk: Path | None = None
) -> ScoredCandidates:
    """Score each picture once and put its file into `media`; the bytes of one batch at a time are held.

    Args:
        scorer: gives probability and vector of each.
        candidates: pictures that decode.
        media: gets their files.
        disk: folder of the disk that takes the vectors; None keeps them in memory.
    """
    seen: dict[str, Candidate] = {}
    small: list[NDArray[np.uint8]] = []
    repeated = 0

    def stream() -> Iterator[tuple[str, bytes]]:
        nonlocal repeated
        for one in candidates:
            if one.sha256 in seen:
                repeated += 1
                continue
            keep_media(one.sha256, one.data, media)
            small.append(thumbnail(decode_stored(one.data)))
            # a clip has thousands of frames: their bytes stay on disk
            seen[one.sha256] = replace(one, data=b"")
            yield one.sha256, one.data

    scores = scorer.score(stream(), disk)
    return ScoredCandidates(list(seen.values()), scores, _stack(small), repeated)


def score_split(scorer: ProbeScorer, part: str, path: Path, media: Path) -> Reference:
    """Score a labelled split, a parquet file of ours, and put its files into `media`."""
    small: list[NDArray[np.uint8]] = []

    def stream() -> Iterator[tuple[str, bytes]]:
        for row in read_records(path, columns=["image", "sha256"]):
            key, data = row["sha256"], row["image"]["bytes"]
            keep_media(key, data, media)
            small.append(thumbnail(decode_stored(data)))
            yield key, data

    scores = scorer.score(stream())
    rows = list(read_records(path, columns=["label", "place"], batch=1024))
    return Reference(part, scores, [row["label"] for row in rows], [row["place"] for row in rows], _stack(small))


def _stack(small: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.array(small, dtype=np.uint8).reshape(-1, 32, 32)
