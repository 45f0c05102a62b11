"""Batch prediction: every picture of a folder or of parquet files scored, a shard at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cascade.config import RuntimeParams
from cascade.local.session import find_release
from tasks.config.scale import ScaleParams
from tasks.scale.engine import run_items
from tasks.scale.errors import OutputError
from tasks.scale.output import OutputFolder
from tasks.scale.pieces import Input, find_pieces
from tasks.scale.predictor import Predictor, Unreadable


def predict_batch(
    source: Path, out: Path, params: RuntimeParams, scale: ScaleParams, release: Path | None = None
) -> dict[str, Any]:
    """Score pictures into a folder of parquet shards; what an earlier run has done is kept.

    The result depends on the input, the release and the settings of the runtime, and neither on the engine nor on how
    often the run was cut off.

    Args:
        source: a folder of images and clips, a parquet file, or a folder of them.
        out: folder of the shards.
        params: the runtime's sections.
        scale: section `scale`.
        release: folder; None for the champion.

    Returns:
        What `_batch.json` says, and `reused`, the number of shards that were there; `problems` names what could not be
        read.

    Raises:
        DataError: there is nothing to read.
        OutputError: the folder holds other things, or lies in the input.
        ReleaseError: it does not verify.
        OSError: a shard cannot be written; those before it stay.
    """
    found = find_pieces(source, scale.shard_pictures)
    _refuse_overlap(source, out)
    opened = find_release(release)
    problems = list(found.problems)
    with OutputFolder(out) as output, _bar(found) as bar:
        make = partial(Predictor, found.root.resolve(), opened.folder, params, scale.shard_pictures, output.done)
        for shard in run_items(scale, make, found.pieces):
            if isinstance(shard, Unreadable):
                problems.append(shard.message)
                continue
            output.add(shard)
            bar.update(shard.pictures)
        report = output.finish({"release": opened.id, "source": str(source)}, problems)
        return {**report, "reused": output.reused}


@contextmanager
def _bar(found: Input) -> Iterator[tqdm[Any]]:
    total = sum(piece.pictures for piece in found.pieces)
    with tqdm(total=total, unit="img", disable=None) as bar:
        yield bar


def _refuse_overlap(source: Path, out: Path) -> None:
    """Shards among the input would be read as input by the next run."""
    inside = source if source.is_dir() else source.parent
    if out.resolve() == inside.resolve() or (inside.resolve() in out.resolve().parents and source.is_dir()):
        raise OutputError(f"{out}: lies in the input; give a folder outside {inside}")
