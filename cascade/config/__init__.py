"""The parameters of the pipeline and the runtime: frozen models, one a section of `params.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from cascade.config.base import PARAMS_FILE, ConfigError, Section, Share, YamlLoader
from cascade.config.budget import BudgetParams
from cascade.config.data import BackboneSource, DataSource, EmbedParams, PullParams
from cascade.config.detect import DetectParams
from cascade.config.export import ExportParams
from cascade.config.inbox import InboxParams
from cascade.config.judge import VlmParams
from cascade.config.learn import AdaptParams, RegisterParams, TrainParams, ValidateParams
from cascade.config.mine import MineParams
from cascade.config.quantize import QuantizeParams
from cascade.config.serve import ServeParams
from cascade.config.synthesize import SynthesizeParams
from cascade.config.text import OcrParams

__all__ = [
    "PARAMS_FILE",
    "AdaptParams",
    "BackboneSource",
    "BudgetParams",
    "ConfigError",
    "DataSource",
    "DetectParams",
    "EmbedParams",
    "ExportParams",
    "InboxParams",
    "MineParams",
    "OcrParams",
    "Params",
    "PullParams",
    "QuantizeParams",
    "RegisterParams",
    "Section",
    "ServeParams",
    "Share",
    "SynthesizeParams",
    "TrainParams",
    "ValidateParams",
    "VlmParams",
    "load_params",
]  # fmt: skip


class Params(Section):
    """The whole of `params.yaml`."""

    profile: Literal["sample", "gpu24"]
    pull: PullParams
    adapt: AdaptParams
    embed: EmbedParams
    synthesize: SynthesizeParams
    mine: MineParams
    train: TrainParams
    detect: DetectParams
    judge: VlmParams
    quantize: QuantizeParams
    text: OcrParams
    export: ExportParams
    validate_: ValidateParams = Field(alias="validate")
    register_: RegisterParams = Field(alias="register")
    budget: BudgetParams
    serve: ServeParams
    inbox: InboxParams

    @model_validator(mode="after")
    def _frozen_blocks_are_not_read(self) -> Params:
        if self.adapt.mode == "train" and self.adapt.frozen_blocks >= min(self.embed.layers):
            raise ValueError("adapt.frozen_blocks: must be fewer than the first of embed.layers")
        return self

    @model_validator(mode="after")
    def _head_fits_features(self) -> Params:
        wanted = "none" if self.train.head == "conv" else "statistics"
        if self.embed.pooling != wanted:
            raise ValueError(f"train.head: {self.train.head} needs embed.pooling: {wanted}")
        return self

    @model_validator(mode="after")
    def _head_to_begin_with_is_there(self) -> Params:
        if self.train.start == "adapted" and (self.train.head != "conv" or self.adapt.mode == "off"):
            raise ValueError(
                "train.start: adapted needs train.head: conv and an adapt.mode other than off; else random"
            )
        return self


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check a parameter file.

    Raises:
        ConfigError: names the file and each key that is unknown, missing or out of range.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), YamlLoader)  # noqa: S506  # a SafeLoader
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
