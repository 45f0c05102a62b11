"""What drift detection keeps of a release: its reference, embeddings that are still needed, the figures of each date.

Numbers and digests alone: the pictures stay in the inbox, which removes them after `inbox.keep_days`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.common.files import read_json, write_bytes, write_json
from tasks.monitoring.two_samples import Pictures

# (sha256, file) pairs to embeddings, (n, d)
Embed = Callable[[Iterable[tuple[str, bytes]]], NDArray[np.floating]]


@dataclass(frozen=True)
class Answer:
    """One answer of the random slice: digest of the picture, probability, and the deciding stage with its label."""

    sha256: str
    probability: float
    exit: str


class DriftState:
    """The folder of one release.

    Args:
        folder: made with the first file.
        space: names what computes embeddings; those of another space cannot be compared, and are dropped.
    """

    def __init__(self, folder: Path, space: str) -> None:
        self.folder = folder
        self.document: dict[str, Any] = {"space": space, "reference": [], "figures": {}, "window": []}
        if self._file.is_file() and (found := read_json(self._file)).get("space") == space:
            self.document = found
        known = self._vectors.is_file() and bool(self.document["reference"])
        self._embedding = _load(self._vectors) if known else {}

    @property
    def _file(self) -> Path:
        return self.folder / "state.json"

    @property
    def _vectors(self) -> Path:
        return self.folder / "embeddings.npz"

    @property
    def reference(self) -> list[Answer]:
        """The first answers; empty before there are enough."""
        return [Answer(*row) for row in self.document["reference"]]

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """What was found, by date."""
        return dict(self.document["figures"])

    @property
    def window(self) -> set[str]:
        """Digests of the pictures that the newest figure is of."""
        return set(self.document["window"])

    def start(self, answers: Sequence[Answer]) -> None:
        """Take these answers as the reference; `pictures` must have embedded them."""
        self.document["reference"] = [[one.sha256, one.probability, one.exit] for one in answers]
        self.save()

    def add(self, date: str, figure: Mapping[str, Any], window: Collection[str]) -> None:
        """Keep the figure of a date, in place of an earlier one of the same date."""
        self.document["figures"][date] = dict(figure)
        self.document["window"] = sorted(window)
        self.save()

    def save(self) -> None:
        """Write what is needed from now on: embeddings of the reference and of the newest window."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = {one.sha256 for one in self.reference} | self.window
        self._embedding = {key: row for key, row in self._embedding.items() if key in kept}
        stream = io.BytesIO()
        np.savez(stream, keys=np.array(list(self._embedding)), rows=np.array(list(self._embedding.values())))
        # embeddings first: figures without them would be of pictures that nobody can compare any more
        write_bytes(self._vectors, stream.getvalue())
        write_json(self._file, self.document)

    def pictures(self, answers: Sequence[Answer], load: Callable[[str], bytes | None], embed: Embed) -> Pictures:
        """Give answers with their embeddings; a picture that is gone and was never embedded is left out.

        Args:
            answers: of the reference or of a window.
            load: the file of a digest; None where it is gone.
            embed: for the pictures that were not embedded before.
        """
        missing = [one.sha256 for one in answers if one.sha256 not in self._embedding]
        found = [(key, data) for key in missing if (data := load(key)) is not None]
        if found:
            # half precision: two such rounding errors are far below the distances of pictures
            rows = np.asarray(embed(found)).astype(np.float16)
            self._embedding.update(zip([key for key, _ in found], rows, strict=True))
        kept = [one for one in answers if one.sha256 in self._embedding]
        rows = np.array([self._embedding[one.sha256] for one in kept], dtype=np.float32)
        return Pictures(rows, np.array([one.probability for one in kept]), [one.exit for one in kept])

    def has_embedding(self, digest: str) -> bool:
        """Whether a picture was embedded."""
        return digest in self._embedding


def _load(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return dict(zip(file["keys"].tolist(), file["rows"], strict=True))
