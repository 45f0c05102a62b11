"""Section `detect`: stage 2, the two detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share
from cascade.engines.base import BoxPrecision


class YoloLossParams(Section):
    """Gains of YOLO's three losses; the values are those of ultralytics/cfg/default.yaml."""

    box: float = Field(gt=0)
    cls: float = Field(gt=0)
    dfl: float = Field(gt=0)


class YoloParams(Section):
    """YOLO11 through ultralytics, from random weights or from a safetensors file of ours."""

    scale: Literal["n", "s", "m", "l", "x"]
    size: int = Field(ge=64, multiple_of=32)
    suppress_iou: Share = Field(gt=0, lt=1)
    loss: YoloLossParams
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
    fusion_blocks: int = Field(ge=1)
    dropout: Share = Field(ge=0, lt=1)
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
    """When two detectors have seen the same, and when they have seen nothing; and how its scores are searched for."""

    matches: int = Field(ge=1)
    iou: Share = Field(gt=0, lt=1)
    clear_below: Share = Field(gt=0, lt=0.5)
    min_precision: Share = Field(gt=0, lt=1)
    factor_step: float = Field(gt=0)
    max_factor: float = Field(ge=1)
    max_score: Share = Field(gt=0, lt=1)
    suspicion: Share = Field(gt=0, le=1)
    inverse_l2: float = Field(gt=0)
    cut_resamples: int = Field(ge=1)


class CardParams(Section):
    """Key `detect.card`: a training on a graphics card; none of it counts on a processor.

    Attributes:
        precision: of the networks' products; losses are in float32. auto: bfloat16 where the card has it.
        tf32: whether products that stay in float32 may round their factors to 10 bits.
        micro_batch: pictures whose activations lie on the card at once; the gradient is that of all of a step. auto: as
            many as fit, by two trial passes.
        memory_share: of the card's free memory that `auto` fills.
    """

    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    tf32: bool = True
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    memory_share: Share = Field(default=0.85, gt=0, le=1)


class CocoSource(Section):
    """Further pictures with boxes: a COCO file and the folder that its file names are in.

    Attributes:
        left_out: a text file with the file names of pictures that are not used, one a line.
    """

    annotations: Path
    images: Path
    left_out: Path | None = None


class DetectExcludeParams(Section):
    """Nodes of each detector's graph that int8 leaves as they are."""

    yolo: tuple[str, ...]
    detr: tuple[str, ...]


class DetectPrecisionParams(Section):
    """What the exported detectors run in, and what a lower precision than fp32 must hold.

    Attributes:
        yolo, detr: bf16 where the processor has it, int8, or fp16 where torch computes on a GPU; what does not hold its
            mAP50 runs in fp32. TensorRT's engines are in `export.precision`.
        images: of the calibration split, for int8's ranges of activations.
        metric_images: others of it, for mAP50 in fp32 and below.
        max_map_drop: more than this lost, and fp32 serves.
        exclude: ONNX nodes that int8 leaves as they are, regular expressions a detector.
    """

    yolo: BoxPrecision
    detr: BoxPrecision
    images: int = Field(ge=1)
    metric_images: int = Field(ge=1)
    max_map_drop: Share = Field(ge=0, lt=1)
    exclude: DetectExcludeParams


class DetectParams(Section):
    """Section `detect`: stage 2, the two detectors.

    Attributes:
        max_batch: images a call of a detector, at most.
        graphs: batch sizes that CUDA graphs are captured for, up to the most; empty: powers of two.
    """

    mode: Literal["shipped", "train"]
    start: Literal["random", "shipped"]
    extra: tuple[Path, ...]
    coco: CocoSource | None
    near_duplicate_bits: int = Field(default=4, ge=0, le=16)
    yolo: YoloParams
    detr: DetrParams
    card: CardParams = CardParams()
    whole_share: Share = Field(ge=0, le=1)
    min_box: float = Field(ge=0)
    min_score: Share = Field(ge=0, lt=1)
    agreement: AgreementParams
    views: int = Field(ge=1)
    engine: Literal["auto", "tensorrt", "torch_cuda", "openvino", "onnxruntime"]
    max_batch: int = Field(ge=1, le=256)
    graphs: tuple[Annotated[int, Field(ge=1)], ...]
    threads: int = Field(ge=1)
    seed: int
    parity_images: int = Field(ge=1)
    parity_score: Share = Field(ge=0, lt=1)
    max_corner_gap: Share = Field(gt=0)
    max_score_gap: Share = Field(gt=0)
    precision: DetectPrecisionParams

    @model_validator(mode="after")
    def _graphs_are_used(self) -> DetectParams:
        if self.graphs and max(self.graphs) > self.max_batch:
            raise ValueError(f"graphs: no batch is larger than max_batch, {self.max_batch}")
        return self
