"""Step `adapt`: the backbone of stage 1 with low-rank changes that suit roadworks merged into it, and their head.

`python -m tasks.adapt` reads models/backbone and writes models/adapted, a backbone of the same shape. With
`adapt.mode: shipped` the changes are those of models/shipped/adapter; with `train` they are made here from the training
split, checkpoints in var/adapt, and a run that was stopped goes on where it was; with `off` nothing is changed.
`--ship` puts what was trained into models/shipped/adapter. A training prints how the averaged weights, which are kept,
and the raw ones answer on a few pictures of the calibration split; the manifest of the changes has the same figures.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from tasks.classifier.lora.paths import AdaptPaths
from tasks.classifier.weights import MANIFEST
from tasks.common.step import step_main
from tasks.data.schema import DataError

if TYPE_CHECKING:
    from tasks.config import Params


def adapt(params: Params, paths: AdaptPaths | None = None, *, ship: bool = False) -> dict[str, Any] | None:
    """Write the adapted backbone with a manifest of its files' digests.

    Args:
        params: sections `adapt`, `training`, `embed` (which layers are read) and `train` (head and loss).
        paths: where everything is.
        ship: keep trained changes in `paths.shipped`.

    Returns:
        Raw against averaged weights on some pictures of the calibration split; None where nothing was trained.

    Raises:
        DataError: no backbone, no pictures, or shipped changes that are damaged or of another backbone or layers.
    """
    paths = paths or AdaptPaths()
    if not (paths.backbone / MANIFEST).is_file():
        raise DataError(f"{paths.backbone / MANIFEST}: no such file; `dvc repro pull_weights` writes it")
    from tasks.classifier.lora.weights import WEIGHTS, check_changes, copy_changes, merge_changes

    if params.adapt.mode == "off":
        merge_changes(paths.backbone, paths.adapted, {"kind": "backbone"}, None)
        return None
    changes = paths.shipped
    if params.adapt.mode == "train":
        from tasks.classifier.lora.training import train_changes

        changes = train_changes(params, paths)
        if ship:
            copy_changes(changes, paths.shipped)
    manifest = check_changes(changes, paths.backbone, params.embed.layers)
    origin = {"kind": "adapted", "changes": manifest["files"], "backbone": manifest["backbone"]}
    merge_changes(paths.backbone, paths.adapted, origin, changes)
    return manifest.get(WEIGHTS) if params.adapt.mode == "train" else None


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ship", action="store_true", help="keep what was trained in models/shipped/adapter")


main = step_main("adapt", lambda params, options: adapt(params, ship=options.ship), __doc__, flags=_flags)

if __name__ == "__main__":
    sys.exit(main())
