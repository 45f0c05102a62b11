"""Private cache of what a release answers, so that an unchanged champion is not run again.

An entry is keyed by the release's files, the inputs, the parameters, and the code and libraries that compute it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cascade.release.store import Release
from tasks.common.cache_key import cache_key
from tasks.common.files import read_json, sha256, write_bytes, write_json

if TYPE_CHECKING:
    from tasks.validation.predictions import ChallengePredictions

PARTS = ("p", "first", "augmented", "label", "place", "level", "answerable")
SLICE = "slice:"


def classifier_digest(release: Release) -> str:
    """Digest of the files of stage 1 by the manifest; those of other stages and the report do not bear on it."""
    names = (name for name in release.manifest.files if "/" not in name and name not in ("gate.json", "parity.json"))
    return sha256("\n".join(f"{name} {release.manifest.files[name].sha256}" for name in sorted(names)).encode())


def entry_file(
    folder: Path, kind: str, release: Release, *, modules: list[str], inputs: Mapping[str, str | Path], params: Any
) -> Path:
    """Name the file of an entry, without its suffix.

    Args:
        folder: of the cache.
        kind: of entry; the name begins with it.
        release: that answers.
        modules: that compute it, see `cache_key`.
        inputs: beside the release's files.
        params: that it depends on.
    """
    key = cache_key(modules, inputs={"classifier": classifier_digest(release), **inputs}, params=params)
    return folder / f"{kind}-{key.short}"


def kept_json(file: Path, compute: Callable[[], Any]) -> Any:
    """Give an entry of plain JSON, or compute and keep it; a damaged one is computed again."""
    path = file.with_suffix(".json")
    try:
        return read_json(path)
    except (OSError, ValueError):
        found = compute()
        write_json(path, found)
        return found


def kept_predictions(file: Path, compute: Callable[[], ChallengePredictions]) -> ChallengePredictions:
    """Give predictions of the challenge set, or compute and keep them; a damaged entry is computed again."""
    path = file.with_suffix(".npz")
    found = _read(path)
    if found is None:
        found = compute()
        stream = io.BytesIO()
        arrays: dict[str, Any] = {name: getattr(found, name) for name in PARTS}
        arrays |= {f"{SLICE}{name}": values for name, values in found.slices.items()}
        np.savez_compressed(stream, **arrays)
        write_bytes(path, stream.getvalue())
    return found


def _read(path: Path) -> ChallengePredictions | None:
    from zipfile import BadZipFile

    from tasks.validation.predictions import ChallengePredictions

    try:
        with np.load(path, allow_pickle=False) as stored:
            parts = {name: stored[name] for name in PARTS}
            slices = {name.removeprefix(SLICE): stored[name] for name in stored.files if name.startswith(SLICE)}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    if len({len(values) for values in (*parts.values(), *slices.values())}) != 1:
        return None
    return ChallengePredictions(**parts, slices=slices)
