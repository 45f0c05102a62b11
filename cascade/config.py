"""The parameters of the pipeline and the runtime: frozen models, one a section of `params.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PARAMS_FILE = Path("params.yaml")
Share = float


class ConfigError(ValueError):
    """The parameter file is missing, is not YAML, or holds a key or value that no section knows."""


class Section(BaseModel):
    """Base of all sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


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


class DataSource(Section):
    """Where the labelled images come from."""

    source: Literal["sample", "hub", "folder"]
    repo: str
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    path: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> DataSource:
        if self.source == "folder" and self.path is None:
            raise ValueError("source: folder needs a path")
        if self.source == "hub" and self.revision is None:
            raise ValueError("source: hub needs a revision (40 hex digits), so that the data cannot change under us")
        return self


class PullParams(Section):
    """Section `pull`: weights and data, and what is kept out of them."""

    backbone: BackboneSource
    data: DataSource
    max_pixels: int = Field(gt=0)
    min_side: int = Field(gt=0)
    near_duplicate_bits: int = Field(ge=0, le=16)


class EmbedParams(Section):
    """Section `embed`: frozen features of images and their seeded views."""

    layer: int = Field(ge=1)
    size: int = Field(ge=28, multiple_of=14)
    views: int = Field(ge=0)
    batch_size: int = Field(ge=1)
    dtype: Literal["auto", "float32", "bfloat16"]
    pooling: Literal["none", "statistics"]
    seed: int


class TrainParams(Section):
    """Section `train`: the head, its calibration and the exits of stage 1."""

    head: Literal["linear", "mlp", "conv"]
    hidden: int = Field(ge=1)
    box_weight: float = Field(ge=0)
    gamma: float = Field(ge=0)
    alpha: Share = Field(gt=0, lt=1)
    label_smoothing: Share = Field(ge=0, lt=0.5)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    patience: int = Field(ge=1)
    seed: int
    scaling: Literal["platt", "temperature"]
    exit_high: Share = Field(gt=0.5, lt=1)
    exit_low: Share = Field(gt=0, lt=0.5)
    risk: Share = Field(gt=0, lt=0.5)
    risk_confidence: Share = Field(gt=0.5, lt=1)


class ExportParams(Section):
    """Section `export`: the engine and how far it may stray from torch."""

    engine: Literal["openvino", "onnxruntime"]
    precision: Literal["bf16", "fp32"]
    parity_images: int = Field(ge=1)
    max_probability_gap: Share = Field(gt=0, lt=1)
    threads: int = Field(ge=1)


class ValidateParams(Section):
    """Section `validate`: the challenge set and the floors under a release."""

    views: int = Field(ge=1)
    bootstrap: int = Field(ge=100)
    confidence: Share = Field(gt=0.5, lt=1)
    seed: int
    min_mcc: float = Field(ge=-1, le=1)
    min_accuracy: Share = Field(ge=0, le=1)


class RegisterParams(Section):
    """Section `register`: MLflow."""

    experiment: str
    model: str
    tracking_uri: str


class ServeParams(Section):
    """Section `serve`: the HTTP service."""

    host: str
    port: int = Field(ge=0, le=65535)
    max_images: int = Field(ge=1)
    max_bytes: int = Field(ge=1)
    max_request_bytes: int = Field(default=64_000_000, ge=1)
    max_pixels: int = Field(default=50_000_000, gt=0)
    min_side: int = Field(default=32, gt=0)
    deadline_seconds: float = Field(gt=0, lt=9)


class Params(Section):
    """The whole of `params.yaml`."""

    profile: Literal["sample", "gpu24"]
    pull: PullParams
    embed: EmbedParams
    train: TrainParams
    export: ExportParams
    validate_: ValidateParams = Field(alias="validate")
    register_: RegisterParams = Field(alias="register")
    serve: ServeParams

    @model_validator(mode="after")
    def _head_fits_features(self) -> Params:
        wanted = "none" if self.train.head == "conv" else "statistics"
        if self.embed.pooling != wanted:
            raise ValueError(f"train.head: {self.train.head} needs embed.pooling: {wanted}")
        return self


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check a parameter file.

    Raises:
        ConfigError: names the file and each key that is unknown, missing or out of range.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run from the project's root") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected sections, found {type(document).__name__}")
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError("\n".join([f"{path} does not fit:", *lines])) from None
