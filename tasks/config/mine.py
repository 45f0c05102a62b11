"""Section `mine`: hard cases out of inbox, pool, folders and clips."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cascade.config.base import Section, Share


class MineParams(Section):
    """Section `mine`: what is chosen for labelling, and what FiftyOne gets to see."""

    strategy: Literal["uncertain_diverse", "hardness", "uniqueness", "random"]
    budget: int = Field(ge=1)
    shortlist: int = Field(ge=1)
    class_share: Share = Field(gt=0, le=1)
    place_quota: int = Field(ge=1)
    duplicate_distance: float = Field(ge=0, lt=2)
    challenge_distance: float = Field(ge=0, lt=2)
    near_duplicate_bits: int = Field(ge=0, le=16)
    max_pixels: int = Field(gt=0)
    min_side: int = Field(gt=0)
    batch_size: int = Field(ge=1)
    dataset: str = Field(min_length=1)
    dataset_limit: int = Field(ge=10)
    seed: int
