"""Sections `training`, `adapt`, `train`, `validate` and `register`: from a backbone to a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share


class TrainingParams(Section):
    """Section `training`: the optimizer of `adapt` and `detect`, and what both change in the colours of a picture.

    Attributes:
        processes: that make samples, on which nothing else depends; 0: a thread. auto: one a core where a card trains.
    """

    weight_decay: float = Field(ge=0)
    warm_up: Share = Field(ge=0, lt=1)
    final_rate: Share = Field(ge=0, le=1)
    max_gradient: float = Field(gt=0)
    ema_decay: Share = Field(ge=0, lt=1)
    ema_warm_up: int = Field(ge=1)
    processes: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    colour_jitter: float = Field(ge=0)


class CameraParams(Section):
    """Section `adapt.camera`: a training picture as another camera or sender would give it.

    Attributes:
        share: of the views, that each kind of change applies to; 0: none.
        white_balance: gains of red and blue lie between exp(-white_balance) and exp(white_balance).
        vignette: share of the light that the corners lose, at most.
        least_scale: of the side of a picture that is shrunk and enlarged again.
        least_quality: of JPEG.
    """

    share: Share = Field(ge=0, le=1)
    white_balance: float = Field(ge=0, le=1)
    vignette: Share = Field(ge=0, lt=1)
    least_scale: Share = Field(gt=0, le=1)
    least_quality: int = Field(ge=1, le=95)


class AdaptParams(Section):
    """Section `adapt`: low-rank changes to the backbone of stage 1.

    Attributes:
        frozen_blocks: the first blocks have no changes.
        trained_blocks: the last blocks that are read, whose changes are trained; those of the blocks before them stay
            as the start has them. None: all changes are trained.
        start_share: of the weights that a training began with in what comes out (WiSE-FT, Wortsman et al. 2022,
            arXiv:2109.01903): what it was good at before costs less.
        draws: views of a picture, whose tokens in front of the trained blocks are kept on disk; None: no two views are
            the same, and none are kept.
    """

    mode: Literal["shipped", "train", "off"]
    start: Literal["random", "shipped"]
    rank: int = Field(ge=1)
    frozen_blocks: int = Field(ge=0)
    trained_blocks: int | None = Field(ge=1)
    draws: int | None = Field(ge=1)
    start_share: Share = Field(ge=0, lt=1)
    camera: CameraParams
    extra: tuple[Path, ...]
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    hard_repeats: int = Field(ge=1)
    hard_share: Share = Field(gt=0, lt=1)
    hard_views: int = Field(ge=1)
    scale_views: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    threads: int = Field(ge=1)
    seed: int


class ConvParams(Section):
    """The convolutional head: what of a token and of a patch reaches the answer."""

    top_patches: int = Field(ge=1)
    token_scale: float = Field(ge=0)
    dropout: Share = Field(ge=0, lt=1)
    channel_dropout: Share = Field(ge=0, lt=1)


class MlpParams(Section):
    """The head of one hidden layer."""

    dropout: Share = Field(ge=0, lt=1)


class TrainParams(Section):
    """Section `train`: the head, its calibration and the exits of stage 1."""

    head: Literal["linear", "mlp", "conv"]
    hidden: int = Field(ge=1)
    conv: ConvParams
    mlp: MlpParams
    start: Literal["adapted", "random"]
    scale_views: int = Field(ge=2)
    box_weight: float = Field(ge=0)
    box_covered: Share = Field(gt=0, le=1)
    box_free: Share = Field(ge=0, lt=1)
    box_positive_weight: float = Field(gt=0)
    gamma: float = Field(ge=0)
    alpha: Share = Field(gt=0, lt=1)
    label_smoothing: Share = Field(ge=0, lt=0.5)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    average: int = Field(ge=1)
    max_shift: float = Field(ge=0)
    probe_epochs: int = Field(ge=1)
    probe_views: int = Field(ge=1)
    threads: int = Field(ge=1)
    seed: int
    scaling: Literal["platt", "temperature"]
    cut_resamples: int = Field(ge=1)
    exit_high: Share = Field(gt=0.5, lt=1)
    exit_low: Share = Field(gt=0, lt=0.5)
    exit_step: Share = Field(gt=0, lt=0.1)
    tta_band: tuple[Share, Share] | None
    risk: Share = Field(gt=0, lt=0.5)
    risk_confidence: Share = Field(gt=0.5, lt=1)

    @model_validator(mode="after")
    def _patches_are_works_or_clear(self) -> TrainParams:
        if self.box_free >= self.box_covered:
            raise ValueError("box_free: must be less than box_covered")
        return self


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
