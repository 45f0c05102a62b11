"""What a release says about itself: the shapes of its manifest and of its settings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from cascade.engines.base import Kind, Precision
from cascade.preprocess.tta import Tta, TtaView

# what a release holds beside the classifier, each in a folder of its name
FOLDERS = ("detectors", "vlm", "ocr")
ID_DIGITS = 12
# 1: stages judge and text, key `unsure`; 2: stages vlm and ocr, key `tta_band`
FORMAT: Literal[2] = 2


class Frozen(BaseModel):
    """Immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(Frozen):
    """What a file of a release must be."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Exits(Frozen):
    """Probabilities at which an image leaves the cascade: from `high` up as roadwork, down from `low` as clear."""

    high: float = Field(ge=0.5, le=1)
    low: float = Field(ge=0, le=0.5)


class FusionRule(Frozen):
    """How estimates are combined where no stage is sure.

    Attributes:
        weights: per stage, for the weighted mean of log-odds; empty: the last stage's estimate.
    """

    weights: dict[str, float] = {}

    @model_validator(mode="after")
    def _sound(self) -> FusionRule:
        if any(not 0 <= weight <= 1 for weight in self.weights.values()):
            raise ValueError("weights of the rule lie between 0 and 1")
        return self


class ZoomSettings(Frozen):
    """Small squares of a picture that its large ones leave undecided; see `cascade.preprocess.crops.zoom_crops`.

    Attributes:
        share: side of a small square, of the picture's shorter side.
        row: where they lie: 0 at the upper edge, 1 at the lower one.
        most: squares, at most.
        weight: of their logit in the mean with that of the large squares.
        band: lowest and highest probability, both exclusive, of a picture that gets them.
        min_side: px of the shorter side from which on a small square shows more than a large one does.
    """

    share: float = Field(gt=0, le=1)
    row: float = Field(ge=0, le=1)
    most: int = Field(ge=1, le=16)
    weight: float = Field(gt=0, lt=1)
    band: tuple[float, float]
    min_side: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> ZoomSettings:
        if not 0 < self.band[0] < self.band[1] < 1:
            raise ValueError("band: two probabilities between 0 and 1, the lower one first")
        return self


class CropSettings(Frozen):
    """Squares of a picture that stage 1 gets: `count` of a wide one, pooled by `pool` over their logits, and `zoom`.

    Pictures whose longer side is under `from_ratio` times the shorter one get the centre square alone.
    """

    count: int = Field(default=1, ge=1, le=9)
    pool: Literal["max", "mean"] = "mean"
    from_ratio: float = Field(default=1.25, ge=1)
    zoom: ZoomSettings | None = None


class StageEntry(Frozen):
    """One stage of a release: whether it is switched on, and why (not), for people."""

    name: Literal["classifier", "detectors", "vlm", "ocr"]
    on: bool
    why: str = ""


class CascadeSettings(Frozen):
    """`cascade.json`: the stages in the order in which they run, and how the router combines them.

    `ocr` holds the settings of stage 4, under the keys of section `ocr`.
    """

    stages: tuple[StageEntry, ...] = (StageEntry(name="classifier", on=True),)
    rule: FusionRule = FusionRule()
    crops: CropSettings = CropSettings()
    ocr: dict[str, JsonValue] = {}

    @model_validator(mode="after")
    def _each_once(self) -> CascadeSettings:
        names = [entry.name for entry in self.stages]
        if len(set(names)) != len(names) or "classifier" not in names:
            raise ValueError("stages: the classifier and each other stage at most once")
        return self


class EngineEntry(Frozen):
    """What runs the classifier, and the library versions it was validated with."""

    kind: Kind
    precision: Precision
    threads: int = Field(ge=1)
    versions: dict[str, str]


class Claims(Frozen):
    """The part of a manifest that repeats what its files say, for people and tools that read only the manifest."""

    thresholds: Exits
    calibration: dict[str, Any]
    engine: EngineEntry
    size: int
    gate: dict[str, Any]


class Manifest(Claims):
    """`manifest.json` of a release.

    Attributes:
        format: of the release's files and keys. A release of another format is refused, since a key that was renamed
            would be read as absent.
    """

    format: Literal[2] = FORMAT
    id: str = Field(pattern=rf"^[0-9a-f]{{{ID_DIGITS}}}$")
    files: dict[str, FileEntry]
    revision: dict[str, str]


class ClassifierSettings(BaseModel):
    """What the runtime needs of `classifier.json`; the export stage may say more.

    Attributes:
        tta_band: a square whose probability lies between these gets test-time augmentation; None: none does.
        tta_views: that it gets; releases from before the key was written have both.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    exits: Exits
    tta_band: Exits | None = None
    tta_views: tuple[TtaView, ...] = ("mirrored", "shifted")
    engine: Kind
    precision: Precision
    threads: int = Field(ge=1)
    size: int = Field(ge=1)
    calibration: dict[str, Any] = {}

    @property
    def tta(self) -> Tta | None:
        """What `cascade.preprocess.tta.run_with_tta` takes."""
        return Tta(self.tta_views, self.tta_band.low, self.tta_band.high) if self.tta_band else None
