"""Frozen features on disk: one vector a picture and view, found by content, in safetensors shards with an index.

Layout of the folder: `fingerprint.json` says what all vectors have in common, `shards/<two hex digits>.safetensors`
hold them under "<sha256>/<view>", `index.json` says which pictures make up which split. `parts/` exists only while a
run is under way: it is what a killed run leaves to the next one.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.files import read_json, write_bytes, write_json
from tasks.schema import DataError

FEATURES = Path("data/features")
MORE_FEATURES = Path("data/features_new")  # of synthesized and mined pictures
FINGERPRINT, INDEX, SHARDS, PARTS = "fingerprint.json", "index.json", "shards", "parts"
COVER = "cover"  # "<sha256>/<view>/cover": where the boxes are in a view
Vectors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class SplitFeatures:
    """The features of one split.

    Attributes:
        x: float32, or float16 for whole tokens, (images, views, width).
        label: int64, (images,), 0 or 1.
        place: one a picture.
        sha256: of every picture's bytes.
        views: names of the views, in the order of axis 1.
        cover: share of every patch under a labelled box, NaN where nothing is known, (images, views, patches).
    """

    x: NDArray[Any]
    label: NDArray[np.int64]
    place: list[str]
    sha256: list[str]
    views: list[str]
    cover: NDArray[np.float32] | None = None


class FeatureStore:
    """Vectors that survive a kill: parts are appended while embedding and sorted into shards at the end."""

    def __init__(self, folder: Path, fingerprint: dict[str, Any]) -> None:
        self.folder = folder
        marker = folder / FINGERPRINT
        if not marker.is_file() or read_json(marker) != fingerprint:
            # made with another backbone, layer or code: nothing of it can be used
            shutil.rmtree(folder, ignore_errors=True)
            write_json(marker, fingerprint)
        self._where: dict[str, Path] = {}
        for file in [*sorted(folder.glob(f"{SHARDS}/*")), *sorted(folder.glob(f"{PARTS}/*"))]:
            self._where.update(dict.fromkeys(_keys(file), file))

    def __contains__(self, key: str) -> bool:
        return key in self._where

    def add(self, vectors: Vectors) -> None:
        """Keep new vectors, safe against a kill from the moment this returns."""
        if not vectors:
            return
        taken = [int(path.stem) for path in (self.folder / PARTS).glob("*.safetensors")]
        part = self.folder / PARTS / f"{max(taken, default=-1) + 1:06d}.safetensors"
        _save(part, vectors)
        self._where.update(dict.fromkeys(vectors, part))

    def finish(self, wanted: Iterable[str], index: dict[str, Any]) -> None:
        """Sort what is wanted into shards, drop the rest, and write the index last."""
        shards: dict[str, list[str]] = defaultdict(list)
        for key in sorted(set(wanted)):
            shards[key[:2]].append(key)
        for prefix, keys in shards.items():
            self._write_shard(self.folder / SHARDS / f"{prefix}.safetensors", keys)
        write_json(self.folder / INDEX, index)
        known = {f"{prefix}.safetensors" for prefix in shards}
        for path in (self.folder / SHARDS).glob("*"):
            if path.name not in known:
                path.unlink()
        # the folder holds what follows from the inputs, and nothing that a killed run left
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)
        for path in self.folder.glob(".*.partial"):
            path.unlink()

    def _write_shard(self, shard: Path, keys: list[str]) -> None:
        if shard.is_file() and sorted(_keys(shard)) == keys:
            return
        sources: dict[Path, list[str]] = defaultdict(list)
        for key in keys:
            sources[self._where[key]].append(key)
        vectors = {name: vector for path, names in sources.items() for name, vector in _load(path, names).items()}
        _save(shard, vectors)


def load_split(folder: Path, split: str, views: int | None = None) -> SplitFeatures:
    """Read one split's features, of all views or the first few.

    Raises:
        DataError: the folder has no index, or not this split.
    """
    if not (folder / INDEX).is_file():
        raise DataError(f"{folder / INDEX}: no such file; `dvc repro embed` writes it")
    entry = read_json(folder / INDEX)["splits"].get(split)
    if entry is None:
        raise DataError(f"{folder / INDEX}: has no split {split!r}")
    entry = {**entry, "views": entry["views"][:views]}
    vectors: dict[str, NDArray[Any]] = {}
    for prefix in sorted({digest[:2] for digest in entry["sha256"]}):
        vectors.update(_load(folder / SHARDS / f"{prefix}.safetensors"))
    x = _stack(vectors, entry, "")
    cover = _stack(vectors, entry, f"/{COVER}") if entry.get(COVER) else None
    label = np.array(entry.get("label", [-1] * len(x)), dtype=np.int64)
    return SplitFeatures(x, label, entry["place"], entry["sha256"], entry["views"], cover)


def joined(first: SplitFeatures, second: SplitFeatures) -> SplitFeatures:
    """The pictures of both, those of `first` in front; `second` may be empty.

    Raises:
        DataError: they were made with other views or another backbone.
    """
    if not second.sha256:
        return first
    if first.views != second.views or first.x.shape[1:] != second.x.shape[1:]:
        raise DataError("features of two kinds cannot be trained on together; run `dvc repro embed embed_new`")
    cover = None
    if first.cover is not None and second.cover is not None:
        cover = np.concatenate([first.cover, second.cover])
    return SplitFeatures(
        np.concatenate([first.x, second.x]),
        np.concatenate([first.label, second.label]),
        first.place + second.place,
        first.sha256 + second.sha256,
        first.views,
        cover,
    )


def _stack(vectors: Vectors, entry: Mapping[str, Any], suffix: str) -> NDArray[Any]:
    rows = [[vectors[f"{digest}/{view}{suffix}"] for view in entry["views"]] for digest in entry["sha256"]]
    return np.array(rows)


def _save(path: Path, vectors: Vectors) -> None:
    from safetensors.numpy import save

    write_bytes(path, save({key: np.ascontiguousarray(vectors[key]) for key in sorted(vectors)}))


def _keys(path: Path) -> list[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return list(file.keys())
    except (SafetensorError, OSError):
        # damaged from outside: what it held is embedded again
        path.unlink(missing_ok=True)
        return []


def _load(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in (names if names is not None else file.keys())}
