"""Part `tensorrt` of section `export`: how engines for NVIDIA GPUs are built, and the limits that they must keep."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cascade.config.base import Section, Share

Group = Literal["box decoding", "sampling points", "normalisation", "attention scores", "head"]


class TensorRTParams(Section):
    """The builder, how parity is measured, and limits beside those that every engine keeps.

    Attributes:
        workspace_mib: scratch memory that a kernel may take on the GPU, MiB.
        optimization_level: 0 (builds fast) to 5 (tries most kernels); TensorRT's own default is 3.
        exclude: parts of the network that stay FP32 from the start, besides those that its family needs.
        range_images: images that the ranges of all tensors are measured on, to find what FP16 cannot hold.
        range_margin: a tensor stays FP32 where its largest value times this exceeds the largest FP16 number, 65504:
            other images may reach further than those measured.
        parity_boxes: highest-scoring boxes of an image that a detector's parity is measured on.
        parity_quantile: of the differences of these boxes; that quantile must keep the limits.
        min_half_share: least FP16 share of the graph's operations and weights, and of the engine's layers.
        min_cosine: least cosine between an engine's outputs and those of torch in FP32.
        max_metric_drop: how much of the task's metric an engine may lose against torch.
    """

    workspace_mib: int = Field(default=4096, ge=64)
    optimization_level: int = Field(default=3, ge=0, le=5)
    exclude: tuple[Group, ...] = ()
    range_images: int = Field(default=2, ge=1)
    range_margin: float = Field(default=8.0, ge=1)
    parity_boxes: int = Field(default=10, ge=1)
    parity_quantile: Share = Field(default=0.95, gt=0, le=1)
    min_half_share: Share = Field(default=0.5, gt=0, le=1)
    min_cosine: Share = Field(default=0.999, gt=0, lt=1)
    max_metric_drop: Share = Field(default=0.005, ge=0, lt=1)
