"""The results of every stage on the views of a split, computed once and kept in a private cache.

The router computes every combination of stages from them, so that no model runs again. An entry of the cache is keyed
by all that a stage's results depend on: its files, the views, the settings, its code with all that this imports, and
the versions of the libraries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cascade.release.manifest import CascadeSettings
from cascade.stages.base import StageResult
from cascade.stages.factory import build_stage
from tasks.common.cache_key import CacheKey, cache_key
from tasks.common.files import read_json, sha256, write_json
from tasks.common.imports import ROOT, reachable
from tasks.selection.record import NO_ESTIMATE, StageRecord, record_stage
from tasks.selection.views import StageView, views_digest

CLASSIFIER = "classifier"
# they take too long to run on every view
SLOW = frozenset({"vlm", "ocr"})
FACTORY = "cascade.stages.factory"
RECORD = TypeAdapter(StageRecord)


@dataclass(frozen=True)
class StagePredictions:
    """Results of all stages, one a view, in the order of the views.

    Attributes:
        label: 0 clear, 1 roadwork.
        place: split key.
        stages: by name, in the order of the cascade.
        source: where each picture comes from; empty where nobody knows.
    """

    label: tuple[int, ...]
    place: tuple[str, ...]
    stages: Mapping[str, StageRecord]
    source: tuple[str, ...] = ()


def stage_predictions(
    views: Sequence[StageView],
    folders: Mapping[str, Path],
    settings: CascadeSettings,
    store: Path,
    *,
    decided_views: int | None,
    code: Path = ROOT,
) -> StagePredictions:
    """Give the results of the stages, computed or out of the cache.

    Args:
        views: of one split.
        folders: of each stage's files, in the order of the cascade; the classifier first.
        settings: of the stages.
        store: folder of the cache.
        decided_views: for figures of stages alone the slow ones run on the first so many views although the classifier
            decides them, and the others on all. None: no stage runs where the classifier decides.
        code: folder that holds the packages.

    Raises:
        ValueError: a stage cannot be built or loaded; names what is missing.
    """
    records: dict[str, StageRecord] = {}
    for name, folder in folders.items():
        first = records[CLASSIFIER].with_prior if records else None
        further = 0 if decided_views is None else decided_views if name in SLOW else len(views)
        run = [first is None or index < further or not _decides(first[index]) for index in range(len(views))]
        priors = None if first is None else [_estimate(result) for result in first]
        key = _key(name, folder, settings, views, priors, run, code)
        file = store / f"{name}-{key.short}.json"
        record = read_record(file, len(views))
        if record is None:
            record = record_stage(build_stage(name, folder, settings), [view.pixels for view in views], priors, run)
            write_record(file, record, key)
        records[name] = record
    label, place, source = zip(*((view.label, view.place, view.source) for view in views), strict=True)
    return StagePredictions(label, place, records, source)


def read_record(file: Path, count: int) -> StageRecord | None:
    """Read an entry of the cache; None where there is none of so many views, or it is damaged."""
    try:
        document = read_json(file)
        if document["digest"] != _digest(document["record"]):
            return None
        record = RECORD.validate_python(document["record"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
    return record if len(record.with_prior) == len(record.without_prior) == count else None


def write_record(file: Path, record: StageRecord, key: CacheKey) -> None:
    """Write an entry of the cache, with its digest and what its key is made of."""
    document = RECORD.dump_python(record, mode="json", exclude_defaults=True)
    write_json(file, {"key": key.parts, "digest": _digest(document), "record": document})


def _digest(document: Any) -> str:
    return sha256(json.dumps(document, sort_keys=True).encode())


def _key(
    name: str,
    folder: Path,
    settings: CascadeSettings,
    views: Sequence[StageView],
    priors: Sequence[float] | None,
    run: Sequence[bool],
    code: Path,
) -> CacheKey:
    # of the factory the code alone: its imports are all stages, and each stage counts for itself
    factory = reachable([FACTORY], code).modules[FACTORY].digest
    inputs: dict[str, str | Path] = {"files": folder, "views": views_digest(views), "factory": factory}
    params = {"settings": settings, "priors": sha256(repr(priors).encode()), "run": sha256(bytes(run))}
    return cache_key([f"cascade.stages.{name}", "tasks.selection.record"], inputs=inputs, params=params, root=code)


def _decides(result: StageResult | None) -> bool:
    return result is not None and result.verdict != "undecided"


def _estimate(result: StageResult | None) -> float:
    return NO_ESTIMATE if result is None or result.probability is None else result.probability
