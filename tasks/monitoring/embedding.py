"""Embeddings for drift: of the frozen backbone as it was pulled, so that no training moves the pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.common.files import read_json, sha256

BACKBONE, HEAD = Path("models/backbone"), Path("models/head")


def embedding_space(backbone: Path = BACKBONE, head: Path = HEAD) -> str:
    """Name what `embed` computes: a digest of the weights and of how they are used.

    Raises:
        FileNotFoundError: backbone or head is missing.
    """
    files = read_json(backbone / "manifest.json")["files"]
    used = {name: read_json(head / "head.json").get(name) for name in ("layers", "size", "pooling", "channels")}
    return sha256(f"{sorted(files.items())} {sorted(used.items())}".encode())


def embed(
    pictures: Iterable[tuple[str, bytes]], backbone: Path = BACKBONE, head: Path = HEAD, batch_size: int = 8
) -> NDArray[np.float32]:
    """Embed pictures with the layers and the size that the classifier uses: class token, mean and maximum.

    Args:
        pictures: (sha256, file) pairs that are known to decode.
        backbone: a `Dinov2Model` folder.
        head: says which layers, and how large pictures are.
        batch_size: pictures at once.

    Returns:
        (n, 3 * channels).

    Raises:
        DataError: there is no head.
    """
    from tasks.mining.scorer import ProbeScorer

    return ProbeScorer(backbone, head, None, batch_size).score(pictures).vectors[:]
