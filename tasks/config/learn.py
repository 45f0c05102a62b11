"""Sections `adapt`, `train`, `validate` and `register`: from a backbone to a release."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cascade.config.base import Section, Share


class AdaptParams(Section):
    """Section `adapt`: low-rank changes to the backbone of stage 1."""

    mode: Literal["shipped", "train", "off"]
    start: Literal["random", "shipped"]
    rank: int = Field(ge=1)
    frozen_blocks: int = Field(ge=0)
    extra: tuple[Path, ...]
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    hard_repeats: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    threads: int = Field(ge=1)
    seed: int


class TrainParams(Section):
    """Section `train`: the head, its calibration and the exits of stage 1."""

    head: Literal["linear", "mlp", "conv"]
    hidden: int = Field(ge=1)
    start: Literal["adapted", "random"]
    box_weight: float = Field(ge=0)
    gamma: float = Field(ge=0)
    alpha: Share = Field(gt=0, lt=1)
    label_smoothing: Share = Field(ge=0, lt=0.5)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    average: int = Field(ge=1)
    probe_epochs: int = Field(ge=1)
    probe_views: int = Field(ge=1)
    seed: int
    scaling: Literal["platt", "temperature"]
    exit_high: Share = Field(gt=0.5, lt=1)
    exit_low: Share = Field(gt=0, lt=0.5)
    tta: bool
    risk: Share = Field(gt=0, lt=0.5)
    risk_confidence: Share = Field(gt=0.5, lt=1)


class ValidateParams(Section):
    """Section `validate`: the challenge set and the floors under a release.

    Attributes:
        views: seeded views of every challenge image at each of the four levels of degradation.
        bootstrap: resamples, by place.
        confidence: of the intervals.
        seed: of views and resamples.
        min_mcc: a release below it is refused.
        min_accuracy: likewise.
        batch: views a call of the engine.
        min_slice: a slice of fewer views is not reported.
    """

    views: int = Field(ge=1)
    bootstrap: int = Field(ge=100)
    confidence: Share = Field(gt=0.5, lt=1)
    seed: int
    min_mcc: float = Field(ge=-1, le=1)
    min_accuracy: Share = Field(ge=0, le=1)
    batch: int = Field(default=16, ge=1)
    min_slice: int = Field(default=8, ge=1)


class RegisterParams(Section):
    """Section `register`: MLflow."""

    experiment: str
    model: str
    tracking_uri: str
