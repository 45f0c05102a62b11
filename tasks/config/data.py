"""Sections `pull` and `embed`: where weights and pictures come from, and their features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share
from cascade.labelled.class_names import ClassNames
from cascade.preprocess.tta import TtaView
from tasks.config.learn import CameraParams

# sources of rows that we make or that name none
RESERVED = ("real", "rendered", "sdxl", "mined")


class BackboneSource(Section):
    """Where the stage-1 backbone comes from."""

    source: Literal["wheel", "hub"]
    repo: str
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")

    @model_validator(mode="after")
    def _hub_is_pinned(self) -> BackboneSource:
        if self.source == "hub" and self.revision is None:
            raise ValueError("source: hub needs a revision (40 hex digits), so that the weights cannot change under us")
        return self


class ClassSettings(Section):
    """Which names of classes mean what, before those that everybody uses (cascade/labelled/class_names.py)."""

    roadwork: tuple[str, ...] = ()
    clear: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> ClassSettings:
        ClassNames(self.roadwork, self.clear, self.left_out)
        return self

    @property
    def names(self) -> ClassNames:
        """Labels by name."""
        return ClassNames(self.roadwork, self.clear, self.left_out)


class DataSource(Section):
    """Where the labelled images come from.

    Attributes:
        source: sample: data/sample; hub: `repo` at `revision`; folder: `path`.
        path: a parquet file, or a folder of parquet files or pictures; where it is set, `source` is folder.
        classes: names of labels in class folders, manifests and parquet files.
        seed: of the sharing of places among splits, where the source has none.
    """

    source: Literal["sample", "hub", "folder"]
    repo: str
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    path: Path | None = None
    classes: ClassSettings = ClassSettings()
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _path_means_folder(cls, values: Any) -> Any:
        """One setting is enough: a path beside `source: sample` would be passed over without a word."""
        if isinstance(values, dict) and values.get("path") is not None:
            return {**values, "source": "folder"}
        return values

    @model_validator(mode="after")
    def _complete(self) -> DataSource:
        if self.source == "folder" and self.path is None:
            raise ValueError("source: folder needs a path")
        if self.source == "hub" and self.revision is None:
            raise ValueError("source: hub needs a revision (40 hex digits), so that the data cannot change under us")
        return self


class FurtherSource(DataSource):
    """A source beside the main one.

    Attributes:
        name: of the source in splits, reports and `held_out`; rows that name a source of their own are `name/own`.
        holds: train: all of it is trained on; evaluate: none of it, it is measured with and fitted on; both: shared out
            by place, or as the source's own splits say.
        held_out: sources named by its rows of which none is trained on, whatever `holds` says.
        weight: how much it counts in a training batch against the main source, whose weight is 1.
    """

    source: Literal["sample", "hub", "folder"] = "folder"
    repo: str = ""
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    holds: Literal["train", "evaluate", "both"] = "both"
    held_out: tuple[str, ...] = ()
    weight: float = Field(default=1.0, gt=0, le=100)


class PullParams(Section):
    """Section `pull`: weights and data, and what is kept out of them."""

    backbone: BackboneSource
    data: DataSource
    beside: tuple[FurtherSource, ...] = ()
    source_power: Share = Field(default=0.5, ge=0, le=1)
    max_pixels: int = Field(gt=0)
    min_side: int = Field(gt=0)
    near_duplicate_bits: int = Field(ge=0, le=16)

    @model_validator(mode="after")
    def _names_differ(self) -> PullParams:
        names = [one.name for one in self.beside]
        if twice := sorted({name for name in names if names.count(name) > 1 or name in RESERVED}):
            raise ValueError(f"beside: the name {twice[0]!r} is taken; each source needs its own, and not {RESERVED}")
        return self


class OtherCameraParams(CameraParams):
    """Section `embed.other_camera`: further views of training pictures, as other cameras would have taken them.

    Attributes:
        views: of each picture, beside `embed.views`; 0: none.
        colour_jitter: brightness, contrast and colour are multiplied by exp(-colour_jitter) to exp(colour_jitter).
    """

    views: int = Field(ge=0)
    colour_jitter: float = Field(ge=0)


class EmbedParams(Section):
    """Section `embed`: frozen features of images and their seeded views.

    Attributes:
        extra: parquet files beside the training split, such as pasted photographs.
        decode_side: px that the longer side of a JPEG keeps when it is decoded at 1/2, 1/4 or 1/8 of its size, which is
            several times as fast and gives slightly other views; None: at its own size.
        processes: that decode and make views; 0: a thread. auto: one a core where a card computes the features.
    """

    layers: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    size: int = Field(ge=28, multiple_of=14)
    views: int = Field(ge=0)
    extra: tuple[Path, ...] = ()
    tta_views: tuple[TtaView, ...] = Field(min_length=1)
    batch_size: int = Field(ge=1)
    dtype: Literal["auto", "float32", "bfloat16"]
    pooling: Literal["none", "statistics"]
    other_camera: OtherCameraParams | None = None
    decode_side: int | None = Field(default=None, ge=224)
    processes: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    seed: int
