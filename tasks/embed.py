"""Step `embed`: features of every picture and its seeded views; only new ones are computed.

`python -m tasks.embed` reads data/pulled and models/adapted and fills data/features; with `--new` it reads what
synthesis and mining add to the training pictures and fills data/features_new. The challenge set is not embedded: it is
measured through the exported engine alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.classifier.embedding import embed_files
from tasks.classifier.features import SplitViews
from tasks.classifier.weights import ADAPTED
from tasks.common.files import write_json
from tasks.common.step import step_main
from tasks.data.feature_store import FEATURES, MORE_FEATURES, TTA_SPLIT
from tasks.data.schema import split_file
from tasks.data.views import View, augmented_views, level_views, training_views

if TYPE_CHECKING:
    from tasks.config import EmbedParams, Params

PULLED, REPORT = Path("data/pulled"), Path("reports/embed/metrics.json")
NEW = (Path("data/synthetic/accepted.parquet"), Path("data/labelled/train.parquet"))
NEW_REPORT = Path("reports/embed_new/metrics.json")


def embed(
    params: EmbedParams,
    pulled: Path = PULLED,
    backbone: Path = ADAPTED,
    folder: Path = FEATURES,
    report: Path = REPORT,
) -> dict[str, Any]:
    """Embed the pulled splits: see `tasks.classifier.embedding.embed_files`.

    Returns:
        Counts, as written to `report`.
    """
    files = {name: [split_file(pulled, name)] for name in ("train", "calibration", "pool")}
    plain = level_views(1)
    splits = {
        "train": SplitViews(files["train"], training_views(params.views), covers=params.pooling == "none"),
        "calibration": SplitViews(files["calibration"], plain),
        TTA_SPLIT: SplitViews(files["calibration"], augmented_views(plain)),
        "pool": SplitViews(files["pool"], [View(0)]),
    }
    return _write(report, embed_files(params, splits, backbone, folder))


def embed_new(
    params: EmbedParams,
    files: tuple[Path, ...] = NEW,
    backbone: Path = ADAPTED,
    folder: Path = MORE_FEATURES,
    report: Path = NEW_REPORT,
) -> dict[str, Any]:
    """Embed what synthesis and mining add to the training split, with the same views: see `embed`."""
    train = SplitViews(list(files), training_views(params.views), covers=params.pooling == "none")
    return _write(report, embed_files(params, {"train": train}, backbone, folder))


def _write(report: Path, counts: dict[str, Any]) -> dict[str, Any]:
    write_json(report, counts)
    return counts


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--new", action="store_true", help="embed what synthesis and mining add, not the pulled data")


def _run(params: Params, options: argparse.Namespace) -> dict[str, Any]:
    return (embed_new if options.new else embed)(params.embed)


main = step_main("embed", _run, __doc__, flags=_flags)

if __name__ == "__main__":
    sys.exit(main())
