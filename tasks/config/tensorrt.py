"""Part `tensorrt` of section `export`: how engines for NVIDIA GPUs are built, and what they must prove."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cascade.config.base import Section, Share

Group = Literal["box decoding", "sampling points", "normalisation", "attention scores", "head"]


class TensorRTParams(Section):
    """The builder, and limits beside those that every engine keeps.

    Attributes:
        workspace_mib: scratch memory that a kernel may take on the GPU.
        optimization_level: 0 (builds fast) to 5 (tries most kernels); TensorRT's own default is 3.
        keep_in_fp32: parts of the network that FP16 leaves alone from the start, besides those that its family needs.
        min_half_share: of the FP16 graph's operations and weights, and of the engine's layers, that must be FP16.
        min_cosine: between an engine's answers and those of torch in FP32.
        max_metric_drop: how much of the task's metric an engine may lose against torch.
    """

    workspace_mib: int = Field(default=4096, ge=64)
    optimization_level: int = Field(default=3, ge=0, le=5)
    keep_in_fp32: tuple[Group, ...] = ()
    min_half_share: Share = Field(default=0.5, gt=0, le=1)
    min_cosine: Share = Field(default=0.999, gt=0, lt=1)
    max_metric_drop: Share = Field(default=0.005, ge=0, lt=1)
