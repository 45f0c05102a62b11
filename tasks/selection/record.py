"""Run one stage on views, one at a time as requests come, and keep its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from tqdm import tqdm

from cascade.stages.base import Stage, StageResult

if TYPE_CHECKING:
    from PIL import Image

    from cascade.stages.detectors import DetectorsStage

NO_ESTIMATE = 0.5


@dataclass(frozen=True)
class StageRecord:
    """Results of one stage, one a view; None where it did not run.

    Attributes:
        with_prior: with the classifier's probability as the prior; of the classifier itself, without.
        without_prior: without a prior.
    """

    with_prior: tuple[StageResult | None, ...]
    without_prior: tuple[StageResult | None, ...]


def record_stage(
    stage: Stage, images: Sequence[Image.Image], priors: Sequence[float] | None, run: Sequence[bool]
) -> StageRecord:
    """Load a stage, run it on some of the views, and unload it.

    Args:
        stage: not loaded yet.
        images: all n views.
        priors: the classifier's probability of each, (n,); None for the classifier itself.
        run: whether the stage runs on each, (n,).
    """
    results: list[tuple[StageResult, StageResult] | None] = [None] * len(images)
    stage.load()
    try:
        # once more than needed, so that the first time that counts is not the one of a cold start
        stage.predict([images[0]], None if priors is None else [NO_ESTIMATE])
        for index in tqdm(np.flatnonzero(run).tolist(), desc=f"select_stages: {stage.name}", unit="view"):
            results[index] = _both(stage, images[index], None if priors is None else [priors[index]])
    finally:
        stage.unload()
    return StageRecord(*(tuple(pair and pair[number] for pair in results) for number in (0, 1)))


def _both(stage: Stage, image: Image.Image, prior: list[float] | None) -> tuple[StageResult, StageResult]:
    """The result with the prior and the one without; only the detectors use a prior, and their engines run once."""
    if stage.name == "detectors":
        detectors = cast("DetectorsStage", stage)
        output = detectors.detect([image])
        with_prior, without_prior = (detectors.results(output, given)[0] for given in (prior, None))
    else:
        with_prior = without_prior = stage.predict([image], prior)[0]
    return _recorded(with_prior), _recorded(without_prior)


def _recorded(result: StageResult) -> StageResult:
    """Without its detail, which explains the result to people; the router decides without it."""
    return result.model_copy(update={"detail": {}})
