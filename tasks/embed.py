"""Step `embed`: features of every picture and its seeded views; only new ones are computed.

`python -m tasks.embed` reads data/pulled and models/adapted and fills data/features; with `--new` it reads what
synthesis and mining add to the training pictures and fills data/features_new. The challenge set is not embedded: it is
measured through the exported engine alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.preprocess import pixels as preprocess
from cascade.preprocess.image import decode
from tasks.classifier.encoder import Encoder, choose_dtype, device, versions
from tasks.common.files import read_json, sha256, write_json
from tasks.config import ConfigError, EmbedParams, load_params
from tasks.data import views
from tasks.data.feature_store import COVER, FEATURES, MORE_FEATURES, TTA_SPLIT, FeatureStore
from tasks.data.schema import DataError, read_records, split_file
from tasks.data.views import Geometry, View, augmented_views, level_views, make_view, training_views

PULLED, BACKBONE, REPORT = Path("data/pulled"), Path("models/adapted"), Path("reports/embed/metrics.json")
NEW = (Path("data/synthetic/accepted.parquet"), Path("data/labelled/train.parquet"))
NEW_REPORT = Path("reports/embed_new/metrics.json")
WRITERS = {"pulled": "pull_data", "synthetic": "synthesize label", "labelled": "label"}  # of the folders above
Plan = Mapping[str, list[View]]
COLUMNS = ["image", "label", "place", "sha256"]
BOXES = "objects"
# batches between two writes: what a kill can cost
FLUSH = 16
ANY_SIZE = 1 << 40
NOT_READ = ("preprocessor_config.json", "head.safetensors")  # files beside the backbone that no feature depends on
PATCH = 14  # px a side of a DINOv2 patch


@dataclass(frozen=True)
class Batch:
    """Pictures on their way to the backbone: uint8 (n, size, size, 3), and a key each; `covers` is where boxes lie."""

    keys: list[str]
    pixels: NDArray[np.uint8]
    covers: dict[str, NDArray[np.float16]]


def embed(
    params: EmbedParams,
    pulled: Path = PULLED,
    backbone: Path = BACKBONE,
    folder: Path = FEATURES,
    report: Path = REPORT,
) -> dict[str, Any]:
    """Embed the pulled splits: see `embed_files`."""
    held = level_views(1)
    plan = {
        "train": training_views(params.views), "calibration": held, TTA_SPLIT: augmented_views(held), "pool": [View(0)]
    }  # fmt: skip
    files = {split: [split_file(pulled, "calibration" if split == TTA_SPLIT else split)] for split in plan}
    return embed_files(params, plan, files, backbone, folder, report)


def embed_new(
    params: EmbedParams,
    files: tuple[Path, ...] = NEW,
    backbone: Path = BACKBONE,
    folder: Path = MORE_FEATURES,
    report: Path = NEW_REPORT,
) -> dict[str, Any]:
    """Embed what synthesis and mining add to the training split, with the same views: see `embed_files`."""
    return embed_files(
        params, {"train": training_views(params.views)}, {"train": list(files)}, backbone, folder, report
    )


def embed_files(
    params: EmbedParams,
    plan: Plan,
    files: Mapping[str, list[Path]],
    backbone: Path,
    folder: Path,
    report: Path,
) -> dict[str, Any]:
    """Bring `folder` in line with the data; what is already there is kept, what is no longer wanted goes.

    Args:
        params: section `embed`.
        plan: views of each split.
        files: parquet files of each split.
        backbone: the frozen weights.
        folder: where the features go.
        report: where the counts go.

    Returns:
        Counts, as written to `report`.

    Raises:
        DataError: data or weights are missing.
    """
    common = fingerprint(params, backbone)
    store = FeatureStore(folder, common)
    index = {split: _entry(files[split], split, wanted) for split, wanted in plan.items()}
    views = [key for entry in index.values() for key in _keys(entry)]
    if params.pooling == "none":
        index["train"][COVER] = True
    covers = [f"{key}/{COVER}" for entry in index.values() if entry.get(COVER) for key in _keys(entry)]
    missing = sum(key not in store for key in views)
    if missing:
        _compute(params, common["dtype"], backbone, _batches(params, files, plan, store), store, missing)
    store.finish(views + covers, {"fingerprint": common, "splits": index})
    counts = {split: {"images": len(entry["sha256"]), "views": len(entry["views"])} for split, entry in index.items()}
    write_json(report, {**counts, "vectors": len(views), "layers": list(params.layers), "dtype": common["dtype"]})
    return counts


def fingerprint(params: EmbedParams, backbone: Path) -> dict[str, Any]:
    """Everything but the picture that a vector depends on.

    Raises:
        DataError: no weights.
    """
    manifest = backbone / "manifest.json"
    if not manifest.is_file():
        raise DataError(f"{manifest}: no such file; `dvc repro adapt` writes it")
    files = {name: digest for name, digest in read_json(manifest)["files"].items() if name not in NOT_READ}
    ours = [Path(__file__).parent / "classifier" / name for name in ("backbone.py", "encoder.py", "onnx_export.py")]
    sources = [*ours, Path(views.__file__), Path(preprocess.__file__)]
    return {
        "backbone": files,
        "code": sha256(b"".join(path.read_bytes() for path in sources)),
        "device": device(),
        "dtype": choose_dtype(params.dtype),
        "layers": list(params.layers),
        "channels": read_json(backbone / "config.json")["hidden_size"] * len(params.layers),
        "pooling": params.pooling,
        "seed": params.seed,
        "size": params.size,
        "versions": versions(),
    }


def _entry(paths: list[Path], split: str, wanted: list[View]) -> dict[str, Any]:
    if missing := [str(path) for path in paths if not path.is_file()]:
        stage = WRITERS.get(paths[0].parent.name, "")
        raise DataError(f"{', '.join(missing)}: no such file; `dvc repro {stage}` writes it")
    records = [row for path in paths for row in read_records(path, columns=COLUMNS[1:], batch=1024)]
    entry: dict[str, Any] = {"sha256": [row["sha256"] for row in records], "place": [row["place"] for row in records]}
    entry["views"] = [view.name for view in wanted]
    # the pool counts as unlabelled: nothing downstream may even see what it shows
    return entry if split == "pool" else {**entry, "label": [row["label"] for row in records]}


def _keys(entry: dict[str, Any]) -> list[str]:
    return [f"{digest}/{view}" for digest in entry["sha256"] for view in entry["views"]]


def _batches(params: EmbedParams, files: Mapping[str, list[Path]], plan: Plan, store: FeatureStore) -> Iterator[Batch]:
    """Give batches of one shape, the last padded with black: a row's bits must not depend on who sits beside it."""
    keys: list[str] = []
    covers: dict[str, NDArray[np.float16]] = {}
    pixels = np.zeros((params.batch_size, params.size, params.size, 3), dtype=np.uint8)
    for key, picture, cover in _pictures(params, files, plan, store):
        pixels[len(keys)] = picture
        keys.append(key)
        if cover is not None:
            covers[f"{key}/{COVER}"] = cover
        if len(keys) == params.batch_size:
            yield Batch(keys, pixels, covers)
            keys, pixels, covers = [], np.zeros_like(pixels), {}
    if keys:
        yield Batch(keys, pixels, covers)


def _pictures(
    params: EmbedParams, files: Mapping[str, list[Path]], plan: Plan, store: FeatureStore
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.float16] | None]]:
    for split, wanted in plan.items():
        for row in _rows(files[split]):
            digest = row["sha256"]
            new = [view for view in wanted if f"{digest}/{view.name}" not in store]
            if not new:
                continue
            image = decode(row["image"]["bytes"], max_pixels=ANY_SIZE, min_side=1)
            for view in new:
                picture, geometry = make_view(image, view, key=digest, seed=params.seed, size=params.size)
                boxed = split == "train" and params.pooling == "none"
                cover = _cover(row, geometry, params.size // PATCH) if boxed else None
                yield f"{digest}/{view.name}", picture, cover


def _rows(paths: list[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        yield from read_records(path, columns=[*COLUMNS, BOXES])


def _cover(row: dict[str, Any], geometry: Geometry, cells: int) -> NDArray[np.float16]:
    """Where works are in a view: unknown (NaN) on a roadwork picture without boxes."""
    if row["label"] == 1 and not row[BOXES]:
        return np.full(cells * cells, np.nan, dtype=np.float16)
    return geometry.coverage(row[BOXES] or [], cells).astype(np.float16)


def _compute(
    params: EmbedParams, dtype: str, backbone: Path, batches: Iterator[Batch], store: FeatureStore, missing: int
) -> None:
    encoder = Encoder(backbone, params, dtype)
    fresh: dict[str, NDArray[Any]] = {}
    with tqdm(total=missing, desc="embed", unit="view") as bar:
        for number, (batch, features) in enumerate(encoder(_ahead(batches)), start=1):
            fresh.update(zip(batch.keys, features, strict=False))
            fresh.update(batch.covers)
            bar.update(len(batch.keys))
            if number % FLUSH == 0:
                store.add(fresh)
                fresh = {}
    store.add(fresh)


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Make the next batch in a thread while the backbone works on this one."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        future = pool.submit(next, batches, None)
        while (batch := future.result()) is not None:
            future = pool.submit(next, batches, None)
            yield batch


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tasks.embed", description=__doc__)
    parser.add_argument("--new", action="store_true", help="embed what synthesis and mining add, not the pulled data")
    options = parser.parse_args(arguments)
    try:
        print((embed_new if options.new else embed)(load_params().embed))
    except (ConfigError, ValueError, OSError) as error:
        print(f"embed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
