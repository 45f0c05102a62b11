"""What every stage says about every picture of a split, asked once and kept by content.

Combinations of stages are then computed from these records by the router, without asking a model again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from cascade.preprocess.image import decode
from cascade.release.manifest import CascadeSettings
from cascade.stages.base import Stage, StageResult
from cascade.stages.detectors import DetectorsStage
from cascade.stages.factory import build_stage
from tasks.common.files import read_json, sha256, sha256_file, write_json
from tasks.data.schema import DataError, read_records
from tasks.data.views import LEVELS, View, make_view

ANY_SIZE = 1 << 40
# what the outcome's detail holds is for traces; here it would only be large
KEPT = {"stage", "probability", "exits", "verdict", "milliseconds"}
FIRST = "classifier"
# too slow to be asked about every picture: asked where stage 1 is not sure, and about the first few for figures alone
SLOW = frozenset({"vlm", "ocr"})


@dataclass(frozen=True)
class StageView:
    """One view of one picture."""

    key: str
    label: int
    place: str
    level: int
    pixels: Image.Image


@dataclass(frozen=True)
class StagePredictions:
    """What the stages said: per stage one outcome a shot, in the order of `stage_views`; None where it was not asked.

    Attributes:
        after: with stage 1's probability as the prior; of stage 1 itself, without.
        alone: without a prior.
    """

    label: tuple[int, ...]
    place: tuple[str, ...]
    after: Mapping[str, tuple[StageResult | None, ...]]
    alone: Mapping[str, tuple[StageResult | None, ...]]


def stage_views(path: Path, *, images: int, views: int, seed: int, size: int) -> list[StageView]:
    """Choose pictures of a split and make their views.

    Args:
        path: parquet.
        images: at most so many, by turns of both labels in an order that the seed mixes.
        views: levels a picture is seen at; with fewer than all, the levels go round from picture to picture.
        seed: of the order and of the views.
        size: px a side.

    Raises:
        DataError: the split lacks a class.
    """
    rows = {row["sha256"]: row for row in read_records(path, ["sha256", "label", "place"])}
    chosen = _mixed(rows, images, seed)
    pictures = {row["sha256"]: row["image"]["bytes"] for row in read_records(path) if row["sha256"] in chosen}
    made = []
    for number, key in enumerate(chosen):
        image = decode(pictures[key], max_pixels=ANY_SIZE, min_side=1)
        for turn in range(views):
            # both labels stand side by side in the order, so the level goes on after every two
            view = View(LEVELS[(number // 2 + turn) % len(LEVELS)])
            pixels, _ = make_view(image, view, key=key, seed=seed, size=size)
            made.append(StageView(key, rows[key]["label"], rows[key]["place"], view.level, Image.fromarray(pixels)))
    return made


def record(
    chosen: Sequence[StageView], folders: Mapping[str, Path], settings: CascadeSettings, store: Path, needless: int
) -> StagePredictions:
    """Ask the stages about the shots, or take what they said before.

    Args:
        chosen: the shots.
        folders: of each stage's files, in the order of the cascade; the classifier first.
        settings: of the stages.
        store: folder of what was said before, by the stage's content and the shots.
        needless: the first so many shots are shown to the slow stages although stage 1 is sure of them.

    Raises:
        ValueError: a stage cannot be built or loaded; names what is missing.
    """
    after: dict[str, tuple[StageResult | None, ...]] = {}
    alone: dict[str, tuple[StageResult | None, ...]] = {}
    for name, folder in folders.items():
        first = after.get(FIRST)
        asked = [not _sure(first, index) or name not in SLOW or index < needless for index in range(len(chosen))]
        path = store / f"{name}-{_key(name, folder, settings, chosen, first, asked)}.json"
        if not path.is_file():
            priors = None if first is None else [_prior(seen) for seen in first]
            write_json(path, _ask(build_stage(name, folder, settings), chosen, priors, asked))
        said = read_json(path)
        after[name], alone[name] = (tuple(map(_read, said[kind])) for kind in ("after", "alone"))
    return StagePredictions(tuple(shot.label for shot in chosen), tuple(shot.place for shot in chosen), after, alone)


def _mixed(rows: Mapping[str, dict[str, Any]], images: int, seed: int) -> list[str]:
    order = sorted(rows, key=lambda key: sha256(f"{seed}:{key}".encode()))
    both = [[key for key in order if rows[key]["label"] == label] for label in (0, 1)]
    if not all(both):
        raise DataError("the split needs pictures of both classes, so that stages can be compared")
    turns = [key for pair in zip(*both, strict=False) for key in pair]
    longer = max(both, key=len)
    return (turns + longer[len(turns) // 2 :])[:images]


def _sure(first: Sequence[StageResult | None] | None, index: int) -> bool:
    seen = None if first is None else first[index]
    return seen is not None and seen.verdict != "undecided"


def _read(said: dict[str, Any] | None) -> StageResult | None:
    return None if said is None else StageResult.model_validate(said)


def _ask(
    stage: Stage, chosen: Sequence[StageView], priors: Sequence[float] | None, asked: Sequence[bool]
) -> dict[str, Any]:
    """One picture at a time, as a request has it; the first is asked twice, so that nothing is timed cold."""
    stage.load()
    try:
        stage.predict([chosen[0].pixels], None if priors is None else [0.5])
        after: list[dict[str, Any] | None] = [None] * len(chosen)
        alone = after.copy()
        for index in tqdm(np.flatnonzero(asked).tolist(), desc=f"select_stages: {stage.name}", unit="view"):
            shot = chosen[index]
            after[index], alone[index] = _both(stage, shot.pixels, None if priors is None else [priors[index]])
        return {"after": after, "alone": alone}
    finally:
        stage.unload()


def _both(stage: Stage, image: Image.Image, prior: Sequence[float] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a stage says with the prior, and without; the detectors, which alone heed it, look once."""
    if isinstance(stage, DetectorsStage):
        output = stage.detect([image])
        after, alone = (stage.results(output, known)[0] for known in (prior, None))
    else:
        after = alone = stage.predict([image], prior)[0]
    return _plain(after), _plain(alone)


def _prior(seen: StageResult | None) -> float:
    return 0.5 if seen is None or seen.probability is None else seen.probability


def _plain(seen: StageResult) -> dict[str, Any]:
    return seen.model_dump(mode="json", include=KEPT)


def _key(
    name: str,
    folder: Path,
    settings: CascadeSettings,
    chosen: Sequence[StageView],
    first: Sequence[StageResult | None] | None,
    asked: Sequence[bool],
) -> str:
    """Digest of all that a stage's answers depend on; stage 1's own, since its probabilities are the others' priors."""
    digest = hashlib.sha256(json.dumps(settings.model_dump(mode="json"), sort_keys=True).encode())
    for part in (*_files(folder), *(shot.key + hashlib.sha256(shot.pixels.tobytes()).hexdigest() for shot in chosen)):
        digest.update(part.encode())
    if name != FIRST:
        digest.update(repr([seen and seen.probability for seen in first or ()]).encode())
        digest.update(bytes(asked))
    return digest.hexdigest()[:16]


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            yield f"{path.relative_to(folder)} {sha256_file(path)}"
