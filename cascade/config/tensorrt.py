"""Part `tensorrt` of section `export`: how engines for NVIDIA GPUs are built, and what they must prove."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share


class TensorRTParams(Section):
    """Batches, builder and limits of a TensorRT engine.

    Attributes:
        precision: of the ONNX graph that the engine is built from; TensorRT is strongly typed and adds nothing to it.
        min_batch: pictures a call, at least.
        optimum_batch: what the kernels are chosen for.
        max_batch: pictures a call, at most; the contract beside the model may promise no more.
        workspace_mib: scratch memory that a kernel may take on the GPU.
        optimization_level: 0 (builds fast) to 5 (tries most kernels); TensorRT's own default is 3.
        min_half_share: of the ONNX graph's floating-point operations, and of the engine's layers, that must be FP16.
        min_cosine: between the engine's answers and those of torch in FP32.
        max_probability_gap: largest difference of a probability or a score.
        max_corner_gap: of a detector: largest distance of a box corner, as a share of the square.
        max_metric_drop: how much of the task's metric the engine may lose.
    """

    precision: Literal["fp16", "fp32"] = "fp16"
    min_batch: int = Field(default=1, ge=1)
    optimum_batch: int = Field(default=1, ge=1)
    max_batch: int = Field(default=32, ge=1)
    workspace_mib: int = Field(default=4096, ge=64)
    optimization_level: int = Field(default=3, ge=0, le=5)
    min_half_share: Share = Field(default=0.5, gt=0, le=1)
    min_cosine: Share = Field(default=0.999, gt=0, lt=1)
    max_probability_gap: Share = Field(default=0.02, gt=0, lt=1)
    max_corner_gap: Share = Field(default=0.02, gt=0, lt=1)
    max_metric_drop: Share = Field(default=0.005, ge=0, lt=1)

    @model_validator(mode="after")
    def _in_order(self) -> TensorRTParams:
        if not self.min_batch <= self.optimum_batch <= self.max_batch:
            raise ValueError("min_batch, optimum_batch and max_batch must be in this order")
        return self
