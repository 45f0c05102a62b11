"""The feature folder of some splits, brought up to date: only new pictures and views are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from tqdm import tqdm

from tasks.classifier.encoder import choose_dtype, device
from tasks.classifier.features import Batch, SplitViews, compute_features
from tasks.classifier.weights import ADAPTED, LOGITS_FILE
from tasks.common.cache_key import cache_key, explain
from tasks.common.files import read_json
from tasks.common.imports import ROOT
from tasks.common.metrics import write_metrics
from tasks.config.data import EmbedParams
from tasks.data.annotated_images import places_of, refuse_measured
from tasks.data.feature_store import COVER, FEATURES, MORE_FEATURES, TTA_SPLIT, FeatureStore, known_fingerprint
from tasks.data.schema import DataError, read_records, split_file
from tasks.data.views import View, augmented_views, level_views, other_camera_views, training_views

PULLED, REPORT = Path("data/pulled"), Path("reports/embed/metrics.json")
NEW = (Path("data/synthetic/accepted.parquet"), Path("data/labelled/train.parquet"))
NEW_REPORT = Path("reports/embed_new/metrics.json")
HEADLINE = ("vectors",)
WRITERS = {"pulled": "pull_data", "synthetic": "synthesize label", "labelled": "label"}  # stages, by their folders
COMPUTED_BY = "tasks.classifier.features"
# files beside the backbone that no feature depends on
NOT_READ = ("preprocessor_config.json", "head.safetensors", LOGITS_FILE)
# as `compute_features`
Compute = Callable[
    [EmbedParams, str, Path, Mapping[str, SplitViews], Callable[[str], bool]], Iterator[tuple[Batch, NDArray[Any]]]
]
FLUSH = 16  # batches between two writes: what a kill can cost


def embed(
    params: EmbedParams,
    pulled: Path = PULLED,
    backbone: Path = ADAPTED,
    folder: Path = FEATURES,
    report: Path = REPORT,
    compute: Compute = compute_features,
) -> dict[str, Any]:
    """Embed the pulled splits: see `embed_files`.

    Returns:
        Counts, as written to `report`.

    Raises:
        DataError: see `embed_files`; or `embed.extra` has a place that another split measures on.
    """
    refuse_measured(places_of(params.extra), pulled)
    files = {name: [split_file(pulled, name)] for name in ("train", "calibration", "pool")}
    plain = level_views(1)
    splits = {
        "train": SplitViews([*files["train"], *params.extra], _views_to_learn(params), covers=params.pooling == "none"),
        "calibration": SplitViews(files["calibration"], plain),
        TTA_SPLIT: SplitViews(files["calibration"], augmented_views(plain, params.tta_views)),
        "pool": SplitViews(files["pool"], [View(0)]),
    }
    return _write(report, embed_files(params, splits, backbone, folder, compute))


def embed_new(
    params: EmbedParams,
    files: tuple[Path, ...] = NEW,
    backbone: Path = ADAPTED,
    folder: Path = MORE_FEATURES,
    report: Path = NEW_REPORT,
    compute: Compute = compute_features,
) -> dict[str, Any]:
    """Embed what synthesis and mining add to the training split, with the same views: see `embed`."""
    train = SplitViews(list(files), _views_to_learn(params), covers=params.pooling == "none")
    return _write(report, embed_files(params, {"train": train}, backbone, folder, compute))


def _views_to_learn(params: EmbedParams) -> list[View]:
    plain = training_views(params.views)
    return [*plain, *other_camera_views(len(plain), params.other_camera.views if params.other_camera else 0)]


def _write(report: Path, counts: dict[str, Any]) -> dict[str, Any]:
    write_metrics(report, counts, HEADLINE)
    return counts


def embed_files(
    params: EmbedParams,
    splits: Mapping[str, SplitViews],
    backbone: Path,
    folder: Path,
    compute: Compute = compute_features,
) -> dict[str, Any]:
    """Embed files: what is there already is kept, what is no longer wanted goes.

    Args:
        params: section `embed`.
        splits: files and views of each.
        backbone: folder of the frozen weights.
        folder: where the features go.
        compute: does so, in this process or elsewhere; the order of its batches does not matter.

    Returns:
        Counts of images and views a split, of vectors in all, and what they were computed with.

    Raises:
        DataError: data or weights are missing.
    """
    common = fingerprint(params, backbone)
    known = known_fingerprint(folder)
    if known is not None and known != common:
        print(f"{folder}: computed anew, since {explain(known.get('parts', {}), common['parts'])}", flush=True)
    store = FeatureStore(folder, common)
    index = {name: _entry(split, name) for name, split in splits.items()}
    views = [key for entry in index.values() for key in _keys(entry)]
    covers = [f"{key}/{COVER}" for entry in index.values() if entry.get(COVER) for key in _keys(entry)]
    covered = set(covers)

    def done(key: str) -> bool:
        # a picture that comes from a split without covers has its features there, and no cover
        return key in store and (f"{key}/{COVER}" not in covered or f"{key}/{COVER}" in store)

    missing = sum(not done(key) for key in views)
    if missing:
        _fill(store, compute(params, common["dtype"], backbone, splits, done), missing)
    store.finish(views + covers, {"fingerprint": common, "splits": index})
    counts = {name: {"images": len(entry["sha256"]), "views": len(entry["views"])} for name, entry in index.items()}
    return {**counts, "vectors": len(views), "layers": list(params.layers), "dtype": common["dtype"]}


def fingerprint(params: EmbedParams, backbone: Path, root: Path = ROOT) -> dict[str, Any]:
    """Say what all features of a folder have in common; two that differ in anything are not features of one kind.

    Args:
        params: section `embed`.
        backbone: folder of the weights.
        root: folder that holds the packages of the project.

    Returns:
        Digests of the backbone's files, what readers of the features need to know, and the `key` with its `parts` (see
        `tasks.common.cache_key`), which has the code and the libraries that compute them.

    Raises:
        DataError: no weights.
    """
    manifest = backbone / "manifest.json"
    if not manifest.is_file():
        raise DataError(f"{manifest}: no such file; `dvc repro adapt` writes it")
    files = {name: digest for name, digest in read_json(manifest)["files"].items() if name not in NOT_READ}
    used = {
        **params.model_dump(
            mode="json", include={"layers", "pooling", "seed", "size", "decode_side"}, exclude_none=True
        ),
        "device": device(),
        "dtype": choose_dtype(params.dtype),
    }
    key = cache_key([COMPUTED_BY], inputs=files, params=used, root=root)
    channels = read_json(backbone / "config.json")["hidden_size"] * len(params.layers)
    return {**used, "backbone": files, "channels": channels, "key": key.digest, "parts": key.parts}


def _entry(split: SplitViews, name: str) -> dict[str, Any]:
    """What the index says of a split."""
    if missing := [path for path in split.files if not path.is_file()]:
        stage = WRITERS.get(missing[0].parent.name)
        origin = f"`dvc repro {stage}` writes it" if stage else "embed.extra names it"
        raise DataError(f"{', '.join(map(str, missing))}: no such file; {origin}")
    columns = ["label", "place", "sha256", "source"]
    rows = [row for path in split.files for row in read_records(path, columns=columns, batch=1024)]
    entry: dict[str, Any] = {"sha256": [row["sha256"] for row in rows], "place": [row["place"] for row in rows]}
    entry["source"] = [row["source"] for row in rows]
    entry["views"] = [view.name for view in split.views]
    if split.covers:
        entry[COVER] = True
    # the pool counts as unlabelled: nothing downstream may even see what it shows
    return entry if name == "pool" else {**entry, "label": [row["label"] for row in rows]}


def _keys(entry: dict[str, Any]) -> list[str]:
    return [f"{digest}/{view}" for digest in entry["sha256"] for view in entry["views"]]


def _fill(store: FeatureStore, batches: Iterator[tuple[Batch, NDArray[Any]]], missing: int) -> None:
    fresh: dict[str, NDArray[Any]] = {}
    with tqdm(total=missing, desc="embed", unit="view") as bar:
        for number, (batch, features) in enumerate(batches, start=1):
            fresh.update(_by_key(batch, features))
            bar.update(len(batch.keys))
            if number % FLUSH == 0:
                store.add(fresh)
                fresh = {}
    store.add(fresh)


def _by_key(batch: Batch, features: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Features (batch, width) and covers by their keys in the store; the last rows of a batch may be padding."""
    covers = {f"{key}/{COVER}": cover for key, cover in batch.covers.items()}
    return {**dict(zip(batch.keys, features, strict=False)), **covers}
