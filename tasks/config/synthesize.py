"""Section `synthesize`: pictures made to order."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share

# what the renderer can make; tests compare it with tasks/synthesis/blender
RENDERED = {
    "time": {"noon", "low_sun", "dusk", "night"},
    "weather": {"clear", "overcast", "wet", "fog"},
    "road": {"city", "suburb", "rural", "motorway"},
    "region": {"us", "eu", "asia"},
}
# of the committed sample and of what the adapter saw: the same places would come again, the challenge set's too
TAKEN_SEEDS = (7, 8, 9, 21, 22, 23, 24, 25)
COMMIT = r"^[0-9a-f]{40}$"
Phrases = dict[str, str]


class RenderParams(Section):
    """Engine `render`: which places, and how well they are rendered."""

    first: int = Field(ge=0)
    samples: int = Field(ge=1)
    distances: tuple[float, ...] = Field(min_length=1)
    max_places: int = Field(ge=1)
    min_share: Share = Field(ge=0, lt=1)


class SdxlParams(Section):
    """Engine `sdxl`: weights, the validators' settings, and memory."""

    variant: Literal["base", "lightning", "turbo"]
    repo: str
    revision: str | None = Field(pattern=COMMIT)
    folder: Path | None
    lightning_repo: str
    lightning_file: str
    lightning_revision: str | None = Field(pattern=COMMIT)
    allow_noncommercial: bool
    steps: int = Field(ge=1)
    guidance: float = Field(ge=0)
    strength: Share = Field(gt=0, le=1)
    image_share: Share = Field(ge=0, le=1)
    description_words: int = Field(ge=1)
    jpeg_quality: int = Field(ge=1, le=100)
    width: int = Field(ge=64, multiple_of=8)
    height: int = Field(ge=64, multiple_of=8)
    batch_size: int = Field(ge=1)
    offload: Literal["none", "model", "sequential"]
    vae_slicing: bool
    vae_tiling: bool

    @model_validator(mode="after")
    def _variant_fits(self) -> SdxlParams:
        if self.variant == "turbo" and not self.allow_noncommercial:
            raise ValueError(
                "variant: turbo is under sai-nc-community, which forbids commercial use, and answering for reward is "
                "commercial; choose base or lightning (both OpenRAIL++-M), or set allow_noncommercial: true"
            )
        if self.variant != "base" and self.guidance > 1:
            raise ValueError(f"variant: {self.variant} is distilled to run without guidance; set guidance: 0")
        if int(self.steps * self.strength) < 1:
            raise ValueError(f"strength {self.strength} of {self.steps} steps leaves image-to-image no step to run")
        return self


class Attributes(Section):
    """What prompts are composed of: for each value its phrase. `works` or `lookalikes` make the label."""

    region: Phrases = Field(min_length=1)
    road: Phrases = Field(min_length=1)
    weather: Phrases = Field(min_length=1)
    time: Phrases = Field(min_length=1)
    camera: Phrases = Field(min_length=1)
    works: Phrases = Field(min_length=1)
    lookalikes: Phrases = Field(min_length=1)


class SynthesizeParams(Section):
    """Section `synthesize`: engine, counts, slices that are wanted, and what is kept out of training."""

    engine: Literal["render", "sdxl"]
    num_positive: int = Field(ge=0)
    num_negative: int = Field(ge=0)
    seed: int = Field(ge=0)
    slices: dict[str, tuple[str, ...]]
    near_duplicate_bits: int = Field(ge=0, le=16)
    contradiction_low: Share = Field(ge=0, lt=0.5)
    contradiction_high: Share = Field(gt=0.5, le=1)
    render: RenderParams
    sdxl: SdxlParams
    negative_prompt: str
    negative_works: str
    attributes: Attributes

    @model_validator(mode="after")
    def _engine_can(self) -> SynthesizeParams:
        if not self.num_positive + self.num_negative:
            raise ValueError("num_positive and num_negative are both 0; there is nothing to make")
        if self.engine == "render" and self.seed in TAKEN_SEEDS:
            taken = ", ".join(map(str, TAKEN_SEEDS))
            raise ValueError(f"seed: {self.seed} made pictures that are trained on already; take none of {taken}")
        if self.engine == "sdxl" and self.sdxl.folder is None:
            self._check_pinned()
        return self

    def _check_pinned(self) -> None:
        why = "(40 hex digits), so that the weights cannot change under us"
        if self.sdxl.revision is None:
            raise ValueError(f"engine: sdxl needs sdxl.revision {why}")
        if self.sdxl.variant == "lightning" and self.sdxl.lightning_revision is None:
            raise ValueError(f"variant: lightning needs sdxl.lightning_revision {why}")

    @model_validator(mode="after")
    def _slices_are_known(self) -> SynthesizeParams:
        known = RENDERED if self.engine == "render" else self.attributes.model_dump()
        for name, values in self.slices.items():
            if name not in known:
                raise ValueError(f"slices: {name!r} is none of {', '.join(sorted(known))} of engine {self.engine}")
            if missing := [value for value in values if value not in known[name]] or (not values and ["no value"]):
                choice = ", ".join(sorted(known[name]))
                raise ValueError(f"slices.{name}: {', '.join(missing)}; engine {self.engine} makes {choice}")
        return self
