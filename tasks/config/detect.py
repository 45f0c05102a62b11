"""Section `detect`: stage 2, the two detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share
from cascade.engines.base import BoxPrecision


class YoloParams(Section):
    """YOLO11 through ultralytics, from random weights or from a safetensors file of ours."""

    scale: Literal["n", "s", "m", "l", "x"]
    size: int = Field(ge=64, multiple_of=32)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)


class DetrParams(Section):
    """RF-DETR or RT-DETR through transformers: a small one of ours, or a pinned repository to fine-tune."""

    family: Literal["rf_detr", "rt_detr"]
    repo: str | None
    revision: str | None = Field(pattern=r"^[0-9a-f]{40}$")
    size: int = Field(ge=64)
    layers: int = Field(ge=3)
    width: int = Field(ge=32, multiple_of=32)
    queries: int = Field(ge=1)
    groups: int = Field(ge=1)
    decoder_layers: int = Field(ge=1)
    draws: int = Field(ge=1)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)

    @model_validator(mode="after")
    def _complete(self) -> DetrParams:
        if self.repo is not None and self.revision is None:
            raise ValueError("a repo needs a revision (40 hex digits), so that the weights cannot change under us")
        step = 14 if self.family == "rf_detr" and self.repo is None else 32
        if self.size % step:
            raise ValueError(f"size: {self.size} must be a multiple of {step} for this family")
        return self


class AgreementParams(Section):
    """When two detectors have seen the same, and when they have seen nothing."""

    matches: int = Field(ge=1)
    iou: Share = Field(gt=0, lt=1)
    clear_below: Share = Field(gt=0, lt=0.5)
    min_precision: Share = Field(gt=0, lt=1)


class CocoSource(Section):
    """Further pictures with boxes: a COCO file and the folder that its file names are in."""

    annotations: Path
    images: Path


class DetectPrecisionParams(Section):
    """What the exported detectors run in, and what a lower precision than fp32 must hold.

    Attributes:
        yolo, detr: bf16 where the processor has it, or int8; what does not hold its mAP50 runs in fp32.
        images: of the calibration split, for int8's ranges of activations.
        metric_images: others of it, for mAP50 in fp32 and below.
        max_map_drop: more than this lost, and fp32 serves.
    """

    yolo: BoxPrecision = "fp32"
    detr: BoxPrecision = "fp32"
    images: int = Field(default=16, ge=1)
    metric_images: int = Field(default=64, ge=1)
    max_map_drop: Share = Field(default=0.01, ge=0, lt=1)


class DetectParams(Section):
    """Section `detect`: stage 2, the two detectors."""

    mode: Literal["shipped", "train"]
    start: Literal["random", "shipped"]
    extra: tuple[Path, ...]
    coco: CocoSource | None
    yolo: YoloParams
    detr: DetrParams
    agreement: AgreementParams
    views: int = Field(ge=1)
    engine: Literal["openvino", "onnxruntime", "tensorrt"]
    threads: int = Field(ge=1)
    seed: int
    max_corner_gap: Share = Field(gt=0)
    max_score_gap: Share = Field(gt=0)
    precision: DetectPrecisionParams = DetectPrecisionParams()
