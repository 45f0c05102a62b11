"""Engine `sdxl`: text-to-image and image-to-image, a batch at a time, each kept until the settings change."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tasks.common.cache_key import cache_key
from tasks.common.imports import ROOT
from tasks.config.synthesize import SynthesizeParams
from tasks.synthesis.prompts import ImageOrder, batches, orders, read_sources
from tasks.synthesis.sdxl_batches import read_batch, write_batch
from tasks.synthesis.sdxl_pipeline import dtype_name, load_painter
from tasks.synthesis.sdxl_weights import facts, fetch, find_weights
from tasks.synthesis.work import WORK, SyntheticImage, workplace

# what decides about the pixels and the files of a picture
MODULES = ("tasks.synthesis.sdxl_pipeline", "tasks.synthesis.sdxl_batches")


def make(params: SynthesizeParams, train: Path, root: Path = WORK) -> tuple[list[SyntheticImage], dict[str, Any]]:
    """Make every picture that is ordered and not there yet.

    A batch is kept as one folder that appears when all its pictures are whole: pictures of a batch are computed
    together, so a batch cut in two could come out in other bits.

    Args:
        params: section `synthesize`.
        train: parquet file of the train split, for image-to-image.
        root: where work folders lie.

    Returns:
        The pictures, and what the manifest says of the engine.

    Raises:
        DataError: a prompt is too long, or no train picture fits the slices.
        HubError: weights cannot be had.
    """
    every = orders(params, read_sources(train))
    plan = list(enumerate(batches(every, params.sdxl.batch_size)))
    with workplace(root, work_name(params, every)) as (folder, _):
        todo = [(number, batch) for number, batch in plan if read_batch(_batch(folder, number), batch) is None]
        if todo:
            _paint(params, todo, folder, every, train)
        pictures = [picture for number, batch in plan for picture in read_batch(_batch(folder, number), batch) or ()]
    order = {item.name: index for index, item in enumerate(sorted(every, key=lambda item: (-item.label, item.number)))}
    pictures.sort(key=lambda item: order[Path(item.row.name).stem])
    return pictures, {**facts(params.sdxl, find_weights(params.sdxl)), "work": folder.name}


def work_name(params: SynthesizeParams, every: list[ImageOrder], code: Path = ROOT) -> str:
    """The work folder of these orders: keyed by them, weights, settings, code, and versions of the libraries.

    Args:
        params: section `synthesize`.
        every: all orders.
        code: folder that holds the packages.
    """
    settings = {"dtype": dtype_name(), "batch_size": params.sdxl.batch_size, "quality": params.sdxl.jpeg_quality}
    given = {
        "engine": facts(params.sdxl, find_weights(params.sdxl)),
        "orders": [asdict(order) for order in every],
        "settings": settings,
    }
    return cache_key(MODULES, params=given, root=code).short


def _batch(folder: Path, number: int) -> Path:
    return folder / f"batch_{number:05d}"


def _paint(
    params: SynthesizeParams,
    todo: list[tuple[int, list[ImageOrder]]],
    folder: Path,
    every: list[ImageOrder],
    train: Path,
) -> None:
    fetch(params.sdxl)
    weights = find_weights(params.sdxl)
    paint, about = load_painter(params.sdxl, weights, every, train), facts(params.sdxl, weights)
    done = len(every) - sum(len(batch) for _, batch in todo)
    with tqdm(total=len(every), initial=done, desc="synthesize", unit="picture") as bar:
        for number, batch in todo:
            write_batch(_batch(folder, number), batch, paint(batch), about, params.sdxl.jpeg_quality)
            bar.update(len(batch))
