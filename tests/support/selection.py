"""Predictions of made-up stages, for tests that replay them."""

from __future__ import annotations

from cascade.probability import Verdict
from cascade.release.manifest import Exits
from cascade.stages.base import StageResult, verdict_of
from tasks.selection.record import StageRecord
from tasks.selection.stage_predictions import StagePredictions

EXITS = Exits(high=0.9, low=0.1)


def result(stage: str, p: float | None, milliseconds: float, verdict: Verdict | None = None) -> StageResult:
    """A stage's result; the verdict follows from the exits 0.1 and 0.9 where none is given."""
    verdict = verdict or ("undecided" if p is None else verdict_of(p, EXITS))
    return StageResult(stage=stage, probability=p, exits=EXITS, verdict=verdict, milliseconds=milliseconds)


def predictions(label: list[int], **stages: list[float | None]) -> StagePredictions:
    """Stages by name, a probability a view; the first costs 10 ms, the next 100 ms, and so on; every view a place."""
    columns = {
        name: tuple(result(name, p, 10.0 ** (index + 1)) for p in column)
        for index, (name, column) in enumerate(stages.items())
    }
    records = {name: StageRecord(column, column) for name, column in columns.items()}
    return StagePredictions(tuple(label), tuple(f"place {index}" for index in range(len(label))), records)
