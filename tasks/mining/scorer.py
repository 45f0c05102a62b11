"""The probe's scores of pictures: probability and embedding, read from data/features where they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.preprocess.pixels import to_input
from cascade.probability import sigmoid
from tasks.common.files import read_json
from tasks.data.feature_store import FINGERPRINT, SHARDS
from tasks.data.pictures import decode_stored
from tasks.data.schema import DataError
from tasks.mining.stored import RowList, Rows, RowWriter

if TYPE_CHECKING:
    from tasks.classifier.head import Head
    from tasks.classifier.scorer import Scorer

PLAIN = "0.0"  # the view without any distortion
DECIMALS = 6
# probability of roadwork and embedding of one picture
Score = tuple[float, NDArray[np.float32]]


@dataclass(frozen=True)
class ProbeScores:
    """The probe's scores of n pictures.

    Attributes:
        keys: sha256 of each.
        probability: of roadwork, rounded, (n,).
        vectors: class token, mean and maximum of the patch tokens, float32 (n, 3 * channels); may lie in a file.
    """

    keys: list[str]
    probability: NDArray[np.float64]
    vectors: Rows


class ProbeScorer:
    """Scores pictures in batches; the backbone is loaded with the first picture that has no stored features.

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
        self._document: dict[str, Any] = read_json(head / "head.json")
        self._features = features if features is not None and self._fits(features) else None
        self._scorer: Scorer | None = None
        self._head: Head | None = None

    def score(self, pictures: Iterable[tuple[str, bytes]], disk: Path | None = None) -> ProbeScores:
        """Score (sha256, file content) pairs that are known to decode, in their order.

        Args:
            pictures: the pairs.
            disk: folder of the disk that takes the vectors; None keeps them in memory.
        """
        return gather_scores(map(self._score_all, _batches(pictures, self._batch)), self.width, disk)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(3 * self._document["channels"])

    def _score_all(self, batch: Sequence[tuple[str, bytes]]) -> ProbeScores:
        scores = self._score_batch(batch)
        # the last bits of a score differ between machines and batches; what is chosen must not
        p = np.array([p for p, _ in scores], dtype=np.float64).round(DECIMALS)
        return ProbeScores([key for key, _ in batch], p, np.stack([vector for _, vector in scores]))

    def _score_batch(self, batch: Sequence[tuple[str, bytes]]) -> list[Score]:
        stored = self._stored([key for key, _ in batch])
        missing = [(key, data) for key, data in batch if key not in stored]
        scores = dict(zip([key for key, _ in missing], self._score_new([data for _, data in missing]), strict=True))
        scores.update(zip(stored, self._score_stored(list(stored.values())), strict=True))
        return [scores[key] for key, _ in batch]

    def _score_new(self, files: list[bytes]) -> list[Score]:
        """Scores of image files that have no stored features, at most a batch of them."""
        if not files:
            return []
        if self._scorer is None:
            from tasks.classifier.scorer import Scorer

            self._scorer = Scorer(self._backbone, self._folder)
        size = self._scorer.size
        # padded with black: a row's bits must not depend on its neighbours
        pixels = np.zeros((self._batch, size, size, 3), dtype=np.uint8)
        for row, data in enumerate(files):
            pixels[row] = to_input(decode_stored(data), size)
        p, vectors = self._scorer.score(pixels)
        return list(zip(p[: len(files)].tolist(), vectors[: len(files)], strict=True))

    def _score_stored(self, rows: list[NDArray[Any]]) -> list[Score]:
        """Scores of stored features, each (tokens * channels,) or (3 * channels,)."""
        if not rows:
            return []
        from tasks.classifier.scorer import token_statistics

        if self._head is None:
            from tasks.classifier.head import HeadShape, load_head

            self._head = load_head(self._folder, HeadShape.of_document(self._document))
        x, scaling = np.stack(rows), self._document["calibration"]
        logit = scaling["a"] * self._head.logits(x) + scaling["b"]
        statistics = self._document["pooling"] == "statistics"
        vectors = x if statistics else token_statistics(x, self._document["channels"]).numpy()
        return list(zip(sigmoid(logit).tolist(), vectors.astype(np.float32), strict=True))

    def _fits(self, features: Path) -> bool:
        """Whether stored features are of the head's layers, size, pooling and backbone."""
        marker, manifest = features / FINGERPRINT, self._backbone / "manifest.json"
        if not marker.is_file() or not manifest.is_file():
            return False
        common, files = read_json(marker), read_json(manifest)["files"]
        same = all(common.get(name) == self._document[name] for name in ("layers", "size", "pooling", "channels"))
        return same and all(files.get(name) == digest for name, digest in common["backbone"].items())

    def _stored(self, keys: list[str]) -> dict[str, NDArray[Any]]:
        """Stored features of the plain views, by sha256, of the pictures that have any."""
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


def gather_scores(parts: Iterable[ProbeScores], width: int, disk: Path | None) -> ProbeScores:
    """Put scores after each other, the vectors in memory or in a file on a disk."""
    keys: list[str] = []
    probability = [np.zeros(0)]
    vectors = RowList(width) if disk is None else RowWriter(disk, width)
    for part in parts:
        keys += part.keys
        probability.append(part.probability)
        vectors.write(part.vectors[:])
    return ProbeScores(keys, np.concatenate(probability), vectors.rows())


def _batches(pairs: Iterable[tuple[str, bytes]], size: int) -> Iterator[list[tuple[str, bytes]]]:
    stream = iter(pairs)
    while batch := list(islice(stream, size)):
        yield batch
