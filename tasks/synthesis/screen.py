"""Which new pictures are kept: none that is there already, none whose label the probe strongly contradicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.preprocess.pixels import to_input
from tasks.config import SynthesizeParams
from tasks.data.near_duplicates import near_pairs, thumbnail
from tasks.data.pictures import decode_small, decode_stored
from tasks.data.schema import SPLITS, read_records, split_file
from tasks.synthesis.work import SyntheticImage

BATCH = 16
CHUNK = 64
SMALL = 256  # px that a thumbnail is made from


class ImageScorer(Protocol):
    """What `tasks.classifier.scorer.Scorer` offers."""

    size: int

    def score(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Calibrated probabilities of roadwork and embeddings of pictures (n, size, size, 3)."""


@dataclass
class ScreenedImages:
    """New pictures by what becomes of them; `probability` is that of the scorer, of every picture in `review`."""

    accepted: list[SyntheticImage] = field(default_factory=list)
    review: list[SyntheticImage] = field(default_factory=list)
    probability: list[float] = field(default_factory=list)
    duplicates: list[SyntheticImage] = field(default_factory=list)


def screen(
    pictures: Sequence[SyntheticImage], pulled: Path, scorer: ImageScorer, params: SynthesizeParams
) -> ScreenedImages:
    """Sort new pictures.

    Args:
        pictures: in order; of two that are near-duplicates the first stays.
        pulled: data folder; a picture near one of any of its splits is dropped.
        scorer: the probe.
        params: section `synthesize`.
    """
    screened = ScreenedImages()
    small: list[NDArray[np.uint8]] = []
    inputs: list[NDArray[np.uint8]] = []
    for picture in pictures:
        # one at a time: a thousand pictures of 1024 px would take 3 GB
        image = decode_stored(picture.row.data)
        small.append(thumbnail(image))
        inputs.append(to_input(image, scorer.size))
    taken = duplicates(pictures, np.array(small).reshape(-1, 32, 32), pulled, params.near_duplicate_bits)
    for index, (picture, p) in enumerate(zip(pictures, probabilities(inputs, scorer), strict=True)):
        if index in taken:
            screened.duplicates.append(picture)
        elif contradicts(picture.row.label, p, params):
            screened.review.append(picture)
            screened.probability.append(p)
        else:
            screened.accepted.append(picture)
    return screened


def contradicts(label: int, p: float, params: SynthesizeParams) -> bool:
    """Whether probability `p` of roadwork strongly contradicts the label."""
    return p < params.contradiction_low if label else p > params.contradiction_high


def probabilities(inputs: list[NDArray[np.uint8]], scorer: ImageScorer) -> list[float]:
    """Probabilities of inputs (size, size, 3), in batches of one shape: none must depend on its neighbours."""
    found: list[float] = []
    for start in range(0, len(inputs), BATCH):
        part = np.array(inputs[start : start + BATCH])
        padded = np.zeros((BATCH, *part.shape[1:]), dtype=np.uint8)
        padded[: len(part)] = part
        found += [float(p) for p in scorer.score(padded)[0][: len(part)]]
    return found


def duplicates(pictures: Sequence[SyntheticImage], thumbnails: NDArray[np.uint8], pulled: Path, bits: int) -> set[int]:
    """Numbers of the pictures that are in `pulled` already, or near one there, or near an earlier one of these."""
    digests, known = known_pictures(pulled)
    first: dict[str, int] = {}
    for index, picture in enumerate(pictures):
        first.setdefault(picture.row.sha256, index)
    same = {i for i, item in enumerate(pictures) if item.row.sha256 in digests or first[item.row.sha256] != i}
    near = {i for i, _, _ in near_pairs(thumbnails, known, bits)} | same
    for i, j, _ in sorted(near_pairs(thumbnails, thumbnails, bits), key=lambda pair: pair[1]):
        # the earlier of two stays, unless it is dropped itself
        if i < j and i not in near:
            near.add(j)
    return near


def known_pictures(pulled: Path) -> tuple[set[str], NDArray[np.uint8]]:
    """Digests and thumbnails, (n, 32, 32), of all splits; decoded on all cores at a fraction of their size."""
    digests: set[str] = set()
    thumbnails: list[NDArray[np.uint8]] = []
    with ThreadPoolExecutor() as pool, tqdm(desc="compare", unit="picture") as bar:
        for chunk in _chunks(_records(pulled)):
            digests.update(digest for digest, _ in chunk)
            thumbnails += pool.map(_small, [data for _, data in chunk])
            bar.update(len(chunk))
    return digests, np.array(thumbnails, dtype=np.uint8).reshape(-1, 32, 32)


def _records(pulled: Path) -> Iterator[tuple[str, bytes]]:
    for split in SPLITS:
        for row in read_records(split_file(pulled, split), columns=["image", "sha256"]):
            yield row["sha256"], row["image"]["bytes"]


def _chunks(records: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    stream = iter(records)
    while chunk := list(islice(stream, CHUNK)):
        yield chunk


def _small(data: bytes) -> NDArray[np.uint8]:
    return thumbnail(decode_small(data, SMALL))
