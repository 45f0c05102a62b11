"""Frozen features on disk: one vector a picture and view, found by content, in safetensors shards with an index.

Layout of the folder: `fingerprint.json` says what all vectors have in common, `shards/<two hex digits>.safetensors`
hold them under "<sha256>/<view>", `index.json` says which pictures make up which split. `parts/` exists only while a
run is under way: it is what a killed run leaves to the next one.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.common.files import read_json, write_bytes, write_json
from tasks.data.schema import DataError

FEATURES = Path("data/features")
MORE_FEATURES = Path("data/features_new")  # of synthesized and mined pictures
FINGERPRINT, INDEX, SHARDS, PARTS = "fingerprint.json", "index.json", "shards", "parts"
TTA_SPLIT = "calibration_tta"  # the augmented views of the calibration split
COVER = "cover"  # "<sha256>/<view>/cover": where the boxes are in a view
OTHER_KIND = "features of two kinds cannot be trained on together; run `dvc repro embed embed_new`"
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
        source: of every picture; None where the index does not say.
    """

    x: NDArray[Any]
    label: NDArray[np.int64]
    place: list[str]
    sha256: list[str]
    views: list[str]
    cover: NDArray[np.float32] | None = None
    source: list[str] | None = None

    def only(self, keep: NDArray[np.bool_]) -> SplitFeatures:
        """The pictures of a mask, (images,)."""
        rows = np.flatnonzero(keep).tolist()
        return replace(
            self,
            x=self.x[keep],
            label=self.label[keep],
            place=[self.place[row] for row in rows],
            sha256=[self.sha256[row] for row in rows],
            cover=None if self.cover is None else self.cover[keep],
            source=None if self.source is None else [self.source[row] for row in rows],
        )


class FeatureStore:
    """Vectors that survive a kill: parts are appended while embedding and sorted into shards at the end."""

    def __init__(self, folder: Path, fingerprint: dict[str, Any]) -> None:
        self.folder = folder
        if known_fingerprint(folder) != fingerprint:
            # made with another backbone, layer or code: nothing of it can be used
            shutil.rmtree(folder, ignore_errors=True)
            write_json(folder / FINGERPRINT, fingerprint)
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


def known_fingerprint(folder: Path) -> dict[str, Any] | None:
    """What the features of a folder have in common; None where there are none, or the file is damaged."""
    try:
        found = read_json(folder / FINGERPRINT)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def load_split(folder: Path, split: str, views: int | None = None, more: Path | None = None) -> SplitFeatures:
    """Read one split's features, of all views or the first few.

    Args:
        folder: of a `FeatureStore`.
        split: its name.
        views: so many of each picture's.
        more: a second folder, whose pictures of that split follow; it may have none.

    Raises:
        DataError: a folder has no index, or not this split; or the two were made with other views or another backbone.
    """
    entries = {place: _entry(place, split) for place in (folder, more) if place}
    used = {place: entry for place, entry in entries.items() if entry["sha256"]} or {folder: entries[folder]}
    first, *others = ([*entry["views"][:views]] for entry in used.values())
    if any(other != first for other in others):
        raise DataError(OTHER_KIND)
    keys = {place: [f"{one}/{view}" for one in entry["sha256"] for view in first] for place, entry in used.items()}
    return SplitFeatures(
        _read(keys, len(first)),
        np.array([label for entry in used.values() for label in _labels(entry)], dtype=np.int64),
        [place for entry in used.values() for place in entry["place"]],
        [digest for entry in used.values() for digest in entry["sha256"]],
        first,
        _read(keys, len(first), f"/{COVER}") if all(entry.get(COVER) for entry in used.values()) else None,
        [source for entry in used.values() for source in entry["source"]],
    )


def _entry(folder: Path, split: str) -> dict[str, Any]:
    if not (folder / INDEX).is_file():
        raise DataError(f"{folder / INDEX}: no such file; `dvc repro embed` writes it")
    entry: dict[str, Any] | None = read_json(folder / INDEX)["splits"].get(split)
    if entry is None:
        raise DataError(f"{folder / INDEX}: has no split {split!r}")
    return entry


def _labels(entry: Mapping[str, Any]) -> list[int]:
    return entry.get("label") or [-1] * len(entry["sha256"])


def _read(keys: Mapping[Path, list[str]], views: int, suffix: str = "") -> NDArray[Any]:
    """Vectors in the order of their keys, (images, views, width): copied once, since they take gigabytes."""
    total, start, rows = sum(map(len, keys.values())), 0, np.zeros((0, 0), dtype=np.float32)
    for folder, wanted in keys.items():
        where: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, key in enumerate(wanted, start):
            where[key[:2]][f"{key}{suffix}"].append(number)
        for prefix, places in where.items():
            for name, vector in _load(folder / SHARDS / f"{prefix}.safetensors", places).items():
                if not rows.size:
                    rows = np.empty((total, *vector.shape), dtype=vector.dtype)
                if vector.shape != rows.shape[1:]:
                    raise DataError(OTHER_KIND)
                rows[places[name]] = vector
        start += len(wanted)
    return rows.reshape(total // views, views, -1) if total else rows.reshape(0, views, 0)


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
