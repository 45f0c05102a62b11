"""Section `export`: the engine of stage 1, its precision, and how far it may differ from torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share
from cascade.engines.base import Precision
from cascade.engines.select import ABLE
from tasks.config.tensorrt import TensorRTParams


class BatchParams(Section):
    """Images a call: the least, what kernels are chosen and reports are made for, and the most.

    Attributes:
        graphs: batch sizes that CUDA graphs are captured for, up to the most; empty: powers of two.
    """

    minimum: int = Field(default=1, ge=1)
    optimum: int = Field(default=4, ge=1)
    maximum: int = Field(default=32, ge=1)
    graphs: tuple[Annotated[int, Field(ge=1)], ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> BatchParams:
        if not self.minimum <= self.optimum <= self.maximum:
            raise ValueError("minimum, optimum and maximum must be in this order")
        if self.graphs and max(self.graphs) > self.maximum:
            raise ValueError(f"graphs: no batch is larger than maximum, {self.maximum}")
        return self


class BenchmarkParams(Section):
    """How engines are compared.

    Attributes:
        batch: images a call when parity and MCC are measured.
        rounds: timed calls at batch 1, after one that warms up; larger batches get proportionally fewer, at least 2.
    """

    batch: int = Field(default=8, ge=1)
    rounds: int = Field(default=5, ge=1)


class Int8Params(Section):
    """Post-training quantization, and what an int8 engine may lose before bf16 takes its place.

    Attributes:
        activations: dynamic: OpenVINO takes each token's range at run time; static: NNCF measures ranges beforehand.
        images: of the calibration split, that static ranges are measured on; parity is measured on others.
        smooth_quant_alpha: static only: how far SmoothQuant (Xiao et al. 2023) moves outliers from activations into
            weights, 0 to 1.
        exclude: choices of nodes that are not quantized, each a list of regular expressions for their names; the first
            choice whose answers keep the limit is taken.
        metric_images: of the calibration split, for MCC and gap; both engines answer the same ones.
        max_mcc_drop: against the engine that it falls back to.
        max_probability_gap: against torch fp32 on these images, one a call and `batch.optimum` a call.
    """

    activations: Literal["dynamic", "static"] = "dynamic"
    images: int = Field(default=16, ge=1)
    smooth_quant_alpha: Share = Field(default=0.5, ge=0, le=1)
    exclude: tuple[tuple[str, ...], ...] = Field(default=(("/patch/.*", "/head/.*"),), min_length=1)
    metric_images: int = Field(default=96, ge=2)
    max_mcc_drop: Share = Field(default=0.005, ge=0, lt=1)
    max_probability_gap: Share = Field(default=0.02, gt=0, lt=1)


class ExportParams(Section):
    """Section `export`: the engine and how far it may differ from torch."""

    engine: Literal["auto", "tensorrt", "torch_cuda", "openvino", "onnxruntime", "torch"]
    precision: Literal["int8", "bf16", "fp32", "fp16"]
    parity_images: int = Field(ge=1)
    max_probability_gap: Share = Field(gt=0, lt=1)
    threads: int = Field(ge=1)
    batch: BatchParams = BatchParams()
    benchmark: BenchmarkParams = BenchmarkParams()
    int8: Int8Params = Int8Params()
    tensorrt: TensorRTParams = TensorRTParams()

    @model_validator(mode="after")
    def _runs(self) -> ExportParams:
        able = ANY if self.engine == "auto" else ABLE[self.engine]
        if self.precision not in able:
            raise ValueError(f"engine {self.engine} runs {', '.join(able)}, not precision {self.precision}")
        return self


# `auto` takes the nearest that the chosen engine can run
ANY: tuple[Precision, ...] = ("int8", "bf16", "fp32", "fp16")
