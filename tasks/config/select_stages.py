"""Sections `select_stages` and `crops`: how stages are compared, and what one must add to be switched on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cascade.config.base import Section, Share
from cascade.release.manifest import ZoomSettings


class CropParams(Section):
    """Section `crops`: squares of a picture that stage 1 gets, and how their logits are pooled.

    Attributes:
        count: squares of a wide picture, from edge to edge.
        pool: of their logits.
        zoom: small squares of a picture that these leave undecided; null: none.
    """

    count: int = Field(ge=1, le=9)
    pool: Literal["max", "mean"]
    zoom: ZoomSettings | None = None


class SelectStagesParams(Section):
    """Section `select_stages`.

    Attributes:
        views: levels that a challenge picture is seen at; 1: one by turns, 4: all.
        images: pictures a split, at most, spread evenly over labels.
        sure_images: of them that vlm and ocr see although stage 1 is sure: for their figures alone.
        min_net: answers that a stage must put right, net, on the calibration split.
        min_gain: by how much more than this it must lower the mean log loss there, nats.
        confidence: that it lowers it at all, one-sided, by bootstrap over places; 0 asks for none.
        resamples: of that bootstrap.
        seed: of that bootstrap.
        rule_weights: weights that are tried for each stage where estimates are combined.
        rule_min_gain: by how much more than this a weighted rule must lower the mean log loss, nats.
    """

    views: int = Field(ge=1, le=4)
    images: int = Field(ge=8)
    sure_images: int = Field(ge=8)
    min_net: int
    min_gain: float = Field(ge=0)
    confidence: Share = Field(ge=0, lt=1)
    resamples: int = Field(default=2000, ge=100)
    seed: int = 7
    rule_weights: tuple[Share, ...] = Field(default=(0.0, 0.25, 0.5, 0.75, 1.0), min_length=1)
    rule_min_gain: float = Field(default=1e-4, ge=0)
