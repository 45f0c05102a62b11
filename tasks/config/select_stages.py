"""Sections `select_stages` and `crops`: how stages are compared, and what one must add to be switched on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cascade.config.base import Section, Share


class CropParams(Section):
    """Section `crops`: squares of a wide picture that stage 1 gets, and how their logits are pooled."""

    count: int = Field(ge=1, le=9)
    pool: Literal["max", "mean"]


class SelectStagesParams(Section):
    """Section `select_stages`.

    Attributes:
        views: levels that a challenge picture is seen at; 1: one by turns, 4: all.
        images: pictures a split, at most, spread evenly over labels.
        sure_images: of them that vlm and ocr see although stage 1 is sure: for their figures alone.
        min_net: answers that a stage must put right, net, on the calibration split.
        min_gain: by how much more than this it must lower the mean log loss there, nats.
        confidence: that it lowers it at all, one-sided, by bootstrap over places; 0 asks for none.
    """

    views: int = Field(ge=1, le=4)
    images: int = Field(ge=8)
    sure_images: int = Field(ge=8)
    min_net: int
    min_gain: float = Field(ge=0)
    confidence: Share = Field(ge=0, lt=1)
