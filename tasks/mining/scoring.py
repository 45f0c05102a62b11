"""What the probe makes of pictures: probability and embedding, read from data/features where they are already there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.preprocess.image import decode
from cascade.preprocess.pixels import to_input
from cascade.probability import sigmoid
from tasks.common.files import read_json
from tasks.data.feature_store import FINGERPRINT, SHARDS
from tasks.data.near_duplicates import thumbnail
from tasks.data.schema import DataError, read_records
from tasks.mining.dataset import keep_media

if TYPE_CHECKING:
    from tasks.classifier.head import Head
    from tasks.mining.sources import Candidate
    from tasks.probe import Scorer

PLAIN = "0.0"  # the view without any distortion
DECIMALS = 6
ANY_SIZE = 1 << 40


@dataclass(frozen=True)
class ProbeScores:
    """What was seen of n pictures.

    Attributes:
        keys: sha256 of each.
        probability: of roadwork, rounded, (n,).
        vectors: class token, mean and maximum of the patch tokens, float32 (n, 3 * channels).
    """

    keys: list[str]
    probability: NDArray[np.float64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """A labelled split: what it shows, and what the probe makes of it; arrays of length n."""

    part: str
    looked: ProbeScores
    label: list[int]
    place: list[str]
    thumbnails: NDArray[np.uint8]


@dataclass(frozen=True)
class ScoredCandidates:
    """The candidates without their bytes, which lie under var/media."""

    all: list[Candidate]
    looked: ProbeScores
    thumbnails: NDArray[np.uint8]
    repeated: int


class ProbeScorer:
    """Looks at pictures in batches; the backbone is loaded with the first that has no stored features.

    Args:
        backbone: `Dinov2Model` folder.
        head: models/probe or models/head.
        features: data/features, or None; passed over where it was made for another backbone or layer.
        batch_size: pictures at once.

    Raises:
        DataError: there is no head.
    """

    def __init__(self, backbone: Path, head: Path, features: Path | None, batch_size: int) -> None:
        if not (head / "head.json").is_file():
            raise DataError(f"{head / 'head.json'}: no such file; `dvc repro probe` writes it")
        self._backbone, self._folder, self._batch = backbone, head, batch_size
        self._head: dict[str, Any] = read_json(head / "head.json")
        self._features = features if features is not None and self._fits(features) else None
        self._scorer: Scorer | None = None
        self._scores: Head | None = None

    def look(self, pictures: Iterable[tuple[str, bytes]]) -> ProbeScores:
        """Look at (sha256, file content) pairs that are known to decode, in their order."""
        keys: list[str] = []
        parts: list[tuple[NDArray[np.float64], NDArray[np.float32]]] = []
        for batch in _batches(pictures, self._batch):
            keys.extend(key for key, _ in batch)
            parts.append(self._look(batch))
        if not parts:
            return ProbeScores([], np.zeros(0), np.zeros((0, 3 * self._head["channels"]), dtype=np.float32))
        # the last bits of a score depend on the machine's mood; choices must not
        p: NDArray[np.float64] = np.concatenate([part[0] for part in parts]).astype(np.float64)
        return ProbeScores(keys, p.round(DECIMALS), np.concatenate([part[1] for part in parts]))

    def _look(self, batch: Sequence[tuple[str, bytes]]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        stored = self._stored([key for key, _ in batch])
        missing = [(key, data) for key, data in batch if key not in stored]
        seen = dict(zip([key for key, _ in missing], self._fresh([data for _, data in missing]), strict=True))
        seen.update(zip(stored, self._answers(list(stored.values())), strict=True))
        values = [seen[key] for key, _ in batch]
        return np.array([p for p, _ in values]), np.stack([vector for _, vector in values])

    def _fresh(self, files: list[bytes]) -> list[tuple[float, NDArray[np.float32]]]:
        if not files:
            return []
        if self._scorer is None:
            from tasks.probe import Scorer

            self._scorer = Scorer(self._backbone, self._folder)
        size = self._scorer.size
        # padded with black: a row's bits must not depend on who sits beside it
        pixels = np.zeros((self._batch, size, size, 3), dtype=np.uint8)
        for row, data in enumerate(files):
            pixels[row] = to_input(decode(data, max_pixels=ANY_SIZE, min_side=1), size)
        p, vectors = self._scorer.look(pixels)
        return list(zip(p[: len(files)].tolist(), vectors[: len(files)], strict=True))

    def _fits(self, features: Path) -> bool:
        """Stored features serve where layer, size, pooling and backbone are those of the head."""
        marker, manifest = features / FINGERPRINT, self._backbone / "manifest.json"
        if not marker.is_file() or not manifest.is_file():
            return False
        common, files = read_json(marker), read_json(manifest)["files"]
        same = all(common.get(name) == self._head[name] for name in ("layers", "size", "pooling", "channels"))
        return same and all(files.get(name) == digest for name, digest in common["backbone"].items())

    def _stored(self, keys: list[str]) -> dict[str, NDArray[Any]]:
        from safetensors import safe_open

        found: dict[str, NDArray[Any]] = {}
        if self._features is None:
            return found
        for prefix in sorted({key[:2] for key in keys}):
            shard = self._features / SHARDS / f"{prefix}.safetensors"
            if shard.is_file():
                with safe_open(shard, framework="numpy") as file:
                    here = set(file.keys())
                    wanted = [key for key in keys if key[:2] == prefix and f"{key}/{PLAIN}" in here]
                    found.update({key: file.get_tensor(f"{key}/{PLAIN}") for key in wanted})
        return found

    def _answers(self, rows: list[NDArray[Any]]) -> list[tuple[float, NDArray[np.float32]]]:
        """Probability and embedding of stored features."""
        if not rows:
            return []
        from tasks.probe import pooled

        if self._scores is None:
            from tasks.classifier.head import load_head

            shape = (self._head[name] for name in ("kind", "width", "hidden", "channels"))
            self._scores = load_head(self._folder, *shape)
        x = np.stack(rows)
        logit = self._head["calibration"]["a"] * self._scores.logits(x) + self._head["calibration"]["b"]
        vectors = x if self._head["pooling"] == "statistics" else pooled(x, self._head["channels"]).numpy()
        return list(zip(sigmoid(logit).tolist(), vectors.astype(np.float32), strict=True))


def score_candidates(eye: ProbeScorer, candidates: Iterable[Candidate], media: Path) -> ScoredCandidates:
    """Look at each picture once and put its file into `media`; the bytes of one at a time are held."""
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
            small.append(thumbnail(decode(one.data, max_pixels=ANY_SIZE, min_side=1)))
            # a clip has thousands of frames: their bytes stay on disk
            seen[one.sha256] = replace(one, data=b"")
            yield one.sha256, one.data

    looked = eye.look(stream())
    return ScoredCandidates(list(seen.values()), looked, _stack(small), repeated)


def score_split(eye: ProbeScorer, part: str, path: Path, media: Path) -> Reference:
    """Look at a labelled split, a parquet file of ours, and put its files into `media`."""
    small: list[NDArray[np.uint8]] = []

    def stream() -> Iterator[tuple[str, bytes]]:
        for key, data in _pictures(path):
            keep_media(key, data, media)
            small.append(thumbnail(decode(data, max_pixels=ANY_SIZE, min_side=1)))
            yield key, data

    looked = eye.look(stream())
    rows = list(read_records(path, columns=["label", "place"], batch=1024))
    return Reference(part, looked, [row["label"] for row in rows], [row["place"] for row in rows], _stack(small))


def _stack(small: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.array(small, dtype=np.uint8).reshape(-1, 32, 32)


def _pictures(path: Path) -> Iterator[tuple[str, bytes]]:
    """The pictures of a parquet file of ours as `ProbeScorer.look` takes them."""
    for row in read_records(path, columns=["image", "sha256"]):
        yield row["sha256"], row["image"]["bytes"]


def _batches(pairs: Iterable[tuple[str, bytes]], size: int) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
