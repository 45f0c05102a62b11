"""One worker of batch prediction: a release opened once, and pieces turned into shards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from cascade.config import RuntimeParams
from cascade.core.cascade import Prediction
from cascade.core.executor import FIRST_BATCH
from cascade.core.router import NoEstimateError
from cascade.decoding.pool import Decoders
from cascade.local.session import open_cascade
from cascade.preprocess.image import BadImage, Decoded
from cascade.video.clip import ClipPrediction, predict_clip
from tasks.data.schema import DataError
from tasks.scale.pictures import Picture, read_pictures, shards
from tasks.scale.pieces import Piece
from tasks.scale.table import Predicted, ShardFacts, encode_shard

# of the shards; another one makes all keys other ones
FORMAT = 1


@dataclass(frozen=True)
class Shard:
    """A shard of the output.

    Attributes:
        piece: number of its piece.
        number: place in the piece.
        key: digest of release, settings and pictures, 64 hex digits.
        pictures: how many.
        facts: what it holds; None for a shard that was there.
        data: the parquet file; None as well.
    """

    piece: int
    number: int
    key: str
    pictures: int
    facts: ShardFacts | None = None
    data: bytes | None = None


@dataclass(frozen=True)
class Unreadable:
    """A piece that cannot be read to its end; the shards before the damage are whole."""

    piece: int
    message: str


class Predictor:
    """Scores pieces; a context manager, since the release and the decoding processes are closed at the end.

    Args:
        root: folder of the input.
        release: folder of the release.
        params: the runtime's sections.
        shard: pictures of a shard.
        done: keys of the shards that are there.
    """

    def __init__(
        self, root: Path, release: Path, params: RuntimeParams, shard: int, done: frozenset[str] = frozenset()
    ) -> None:
        self._root, self._folder, self._params, self._shard, self._done = root, release, params, shard, done
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._cascade = stack.enter_context(open_cascade(self._folder, self._params))
            # one decodes for the batch to come
            self._decoders = stack.enter_context(Decoders(pictures=1))
            self._ahead = stack.enter_context(ThreadPoolExecutor(max_workers=1))
            self._open = stack.pop_all()
        self._basis = self._settings()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __call__(self, piece: Piece) -> Iterator[Shard | Unreadable]:
        """Give the piece's shards, and at last why it cannot be read further."""
        most = len(piece.names) if piece.group is None else self._shard
        try:
            for number, pictures in enumerate(shards(read_pictures(self._root, piece, self._params), most)):
                yield self._shard_of(piece, number, pictures)
        except DataError as error:
            yield Unreadable(piece.number, str(error))

    def _shard_of(self, piece: Piece, number: int, pictures: Sequence[Picture]) -> Shard:
        key = sha256("\n".join([self._basis, *(picture.identity for picture in pictures)]).encode()).hexdigest()
        if key in self._done:
            return Shard(piece.number, number, key, len(pictures))
        data, facts = encode_shard(pictures, list(self._predict(pictures)), self._cascade.release.id)
        return Shard(piece.number, number, key, len(pictures), facts, data)

    def _settings(self) -> str:
        """All that predictions depend on besides the pictures, as text."""
        params = self._params
        return json.dumps(
            {
                "format": FORMAT,
                "release": self._cascade.release.id,
                # one whose libraries are installed later is a further one
                "stages": [stage.name for stage in self._cascade.stages],
                "limits": params.serve.model_dump(include={"max_bytes", "max_pixels", "min_side"}),
                "clips": params.clips.model_dump(),
                "memory": params.memory.model_dump(include={"ram_gib", "gpu_gib"}),
                "batch": params.timeouts.batch,
            },
            sort_keys=True,
        )

    def _predict(self, pictures: Sequence[Picture]) -> Iterator[Predicted]:
        for batch, decoded in self._decoded(pictures):
            images = [one for one in decoded if isinstance(one, Decoded)]
            stills = iter(self._stills(images))
            for picture, one in zip(batch, decoded, strict=True):
                if one is not None:
                    yield next(stills) if isinstance(one, Decoded) else one
                else:
                    yield self._clip(picture)

    def _decoded(
        self, pictures: Sequence[Picture]
    ) -> Iterator[tuple[Sequence[Picture], list[Decoded | BadImage | None]]]:
        """Give batches with their pixels, None for a clip; the next batch is decoded while this one is predicted."""
        batches = [pictures[start : start + FIRST_BATCH] for start in range(0, len(pictures), FIRST_BATCH)]
        futures = [self._ahead.submit(self._decode_all, batch) for batch in batches[:1]]
        for number, batch in enumerate(batches, start=1):
            decoded = futures.pop().result()
            futures = [self._ahead.submit(self._decode_all, following) for following in batches[number : number + 1]]
            yield batch, decoded

    def _decode_all(self, pictures: Sequence[Picture]) -> list[Decoded | BadImage | None]:
        return [self._decode(picture) for picture in pictures]

    def _decode(self, picture: Picture) -> Decoded | BadImage | None:
        if picture.refused is not None:
            return picture.refused
        if picture.clip:
            return None
        serve, data = self._params.serve, picture.data
        assert isinstance(data, bytes), "only a clip is left on the disk"  # noqa: S101
        try:
            return self._decoders.decode(data, max_pixels=serve.max_pixels, min_side=serve.min_side)
        except BadImage as error:
            return error

    def _stills(self, images: Sequence[Decoded]) -> list[Prediction | BadImage]:
        try:
            found = self._cascade.predict([one.image for one in images]) if images else []
        except NoEstimateError as error:
            if len(images) > 1:
                return [answer for one in images for answer in self._stills([one])]
            return [BadImage("no_estimate", str(error))]
        return [answer.noted(one.notes) for answer, one in zip(found, images, strict=True)]

    def _clip(self, picture: Picture) -> ClipPrediction | BadImage:
        limits, least = self._params.clips, self._params.serve.min_side
        source = picture.data
        assert source is not None, "a clip that is not refused has a file or bytes"  # noqa: S101
        try:
            return predict_clip(self._cascade, source, limits, min_side=least, opener=self._decoders.open_clip)
        except BadImage as error:
            return error
        except NoEstimateError as error:
            return BadImage("no_estimate", str(error))
