"""Section `quantize`: the VLM in 4 bits, and how near it must stay to its source."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share


class QuantizeCheck(Section):
    """Key `quantize.check`: what the reloaded checkpoint and its source are both asked."""

    reader: Literal["local", "vllm"]
    images: int = Field(ge=2)
    logit_images: int = Field(ge=1)
    texts: int = Field(ge=1)


class QuantizeLimits(Section):
    """Key `quantize.limits`: outside one of them the stage fails, and the checkpoint before it stays."""

    min_cosine: float = Field(ge=-1, le=1)
    max_perplexity_ratio: float = Field(gt=0)
    min_agreement: Share = Field(ge=0, le=1)
    max_lost: Share = Field(ge=0, le=1)
    max_mcc_loss: float = Field(ge=0)
    max_size_ratio: float = Field(gt=0)
    max_group_error: float = Field(gt=0)


class QuantizeParams(Section):
    """Section `quantize`: AWQ of the VLM's language tower (Lin et al. 2024, arXiv 2306.00978).

    `python` is the interpreter of llm-compressor's own environment; STREETVISION_LLMCOMPRESSOR in the environment goes
    before it. `scales: shipped` applies what a search found before (models/shipped/vlm_awq) to the sample's VLM.
    """

    backend: Literal["autoawq", "llm_compressor", "off"]
    scales: Literal["shipped", "search"]
    serve: bool
    group_size: Literal[32, 64, 128]
    samples: int = Field(ge=1)
    min_samples: int = Field(ge=1)
    length: int = Field(ge=16)
    grid: int = Field(ge=2, le=100)
    search_tokens: int = Field(ge=64)
    clip: bool
    memory_gib: float | None = Field(default=None, gt=0)
    min_mass: Share | None = Field(gt=0, le=1)
    seed: int
    threads: int = Field(ge=1)
    python: Path | None = None
    check: QuantizeCheck
    limits: QuantizeLimits

    @model_validator(mode="after")
    def _shipped_scales_are_autoawqs(self) -> QuantizeParams:
        """Shipped scales say nothing of another tool's, nor of ranges."""
        if self.scales == "shipped" and (self.backend == "llm_compressor" or self.clip):
            raise ValueError("scales: shipped goes with backend: autoawq and clip: false; set it to search")
        return self
