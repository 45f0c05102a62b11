"""The parameters of pipeline and runtime: frozen models, one a section of `params.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from cascade.config import (
    PARAMS_FILE,
    CacheParams,
    ClipParams,
    ConfigError,
    InboxParams,
    MemoryParams,
    OcrParams,
    RuntimeParams,
    ServeParams,
    TimeoutParams,
)
from cascade.config.base import read_sections, validated
from cascade.config.neuron import NeuronParams
from tasks.config.clock import ClockParams, SubmissionParams
from tasks.config.data import BackboneSource, DataSource, EmbedParams, PullParams
from tasks.config.detect import DetectParams
from tasks.config.export import ExportParams
from tasks.config.gate import GateParams
from tasks.config.learn import AdaptParams, RegisterParams, TrainingParams, TrainParams, ValidateParams
from tasks.config.mine import MineParams
from tasks.config.monitoring import MonitoringParams
from tasks.config.orchestration import OrchestrationParams
from tasks.config.promotion import PromotionParams
from tasks.config.quantize import QuantizeParams
from tasks.config.retention import RetentionParams
from tasks.config.scale import ScaleParams
from tasks.config.select_stages import CropParams, SelectStagesParams
from tasks.config.stores import ObjectStoreParams, StoresParams
from tasks.config.supervision import SupervisionParams
from tasks.config.synthesize import SynthesizeParams
from tasks.config.vlm import VlmParams

__all__ = [
    "PARAMS_FILE", "AdaptParams", "BackboneSource", "CacheParams", "ClipParams", "ClockParams", "ConfigError",
    "CropParams", "DataSource", "DetectParams", "EmbedParams", "ExportParams", "GateParams", "InboxParams",
    "MemoryParams", "MineParams", "MonitoringParams", "NeuronParams", "ObjectStoreParams", "OcrParams", "Params",
    "PromotionParams", "PullParams", "QuantizeParams", "RegisterParams", "RetentionParams", "RuntimeParams",
    "ScaleParams", "SelectStagesParams", "ServeParams", "StoresParams", "SubmissionParams", "SupervisionParams",
    "SynthesizeParams", "TimeoutParams", "TrainParams", "TrainingParams", "ValidateParams", "VlmParams", "load_params",
]  # fmt: skip


class Params(RuntimeParams):
    """The whole of `params.yaml`: the pipeline's sections and the runtime's."""

    profile: Literal["sample", "gpu24"]
    # share of roadwork that fits and figures are for; null: the data's own
    prior: float | None = Field(gt=0, lt=1)
    pull: PullParams
    training: TrainingParams
    adapt: AdaptParams
    embed: EmbedParams
    synthesize: SynthesizeParams
    mine: MineParams
    train: TrainParams
    detect: DetectParams
    vlm: VlmParams
    quantize: QuantizeParams
    ocr: OcrParams
    export: ExportParams
    validate_: ValidateParams = Field(alias="validate")
    gate: GateParams = GateParams()
    register_: RegisterParams = Field(alias="register")
    stores: StoresParams = StoresParams()
    promotion: PromotionParams = PromotionParams()
    clock: ClockParams = ClockParams()
    submission: SubmissionParams = SubmissionParams()
    orchestration: OrchestrationParams = OrchestrationParams()
    supervision: SupervisionParams = SupervisionParams()
    monitoring: MonitoringParams = MonitoringParams()
    retention: RetentionParams = RetentionParams()
    scale: ScaleParams = ScaleParams()
    crops: CropParams
    select_stages: SelectStagesParams
    memory: MemoryParams
    timeouts: TimeoutParams
    clips: ClipParams
    cache: CacheParams
    inbox: InboxParams
    neuron: NeuronParams = NeuronParams()

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

    @property
    def runtime(self) -> RuntimeParams:
        """The sections that a service is started with."""
        return RuntimeParams(**{name: getattr(self, name) for name in RuntimeParams.model_fields})


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check a parameter file.

    Raises:
        ConfigError: names the file and each key that is unknown, missing, renamed or out of range.
    """
    return validated(Params, read_sections(path), path)
