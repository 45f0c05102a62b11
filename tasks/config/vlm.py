"""Section `vlm`: stage 3, the vision-language model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share


class VlmModelParams(Section):
    """One model: its folder, or its snapshot of the Hub at a pinned revision."""

    source: Literal["shipped", "folder", "hub"]
    folder: Path | None = None
    repo: str | None = None
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")

    @model_validator(mode="after")
    def _complete(self) -> VlmModelParams:
        if self.source == "folder" and self.folder is None:
            raise ValueError("source: folder needs a folder")
        if self.source == "hub" and (self.repo is None or self.revision is None):
            raise ValueError(
                "source: hub needs a repo and a revision (40 hex digits), so that it cannot change under us"
            )
        return self


class VlmServerParams(Section):
    """Key `vlm.server`: the vLLM process; read by backend `server` alone.

    `python` is the interpreter of vLLM's own environment; STREETVISION_VLLM in the environment goes before it.

    Attributes:
        memory_gib: what the memory manager sets aside for all servers together; on a card it must be given.
        sleeping_gib: of that, what each server but the one that is awake keeps on the card: its CUDA context and the
            buffers of its libraries.
        gpu_memory_utilization: share of the card that vLLM may take; None: what is set aside over the card's size.
    """

    python: Path | None = None
    port: int = Field(default=0, ge=0, le=65535)
    start_seconds: float = Field(default=300.0, gt=0)
    stop_seconds: float = Field(default=20.0, gt=0)
    sleep: bool = True
    memory_gib: float = Field(default=0.0, ge=0)
    sleeping_gib: float = Field(default=1.0, ge=0)
    gpu_memory_utilization: Share | None = Field(default=None, gt=0, le=1)
    max_model_len: int = Field(default=8192, ge=256)
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    arguments: tuple[str, ...] = ()


class ProjectorTrainingParams(Section):
    """Key `vlm.training`: the projector of the sample's model; read by `python -m tasks.vlm --train` alone.

    Attributes:
        align_updates: of the projector, for every batch whose features are computed.
        least_rate: share of the learning rate that is left at the end of its cosine.
        share_gain: of the logit of a picture, times the mean share of yes less one half.
        share_margin: by how much a patch's share of yes may lie outside of 0 to 1.
        covered: share of a patch under labelled boxes from which on it shows roadwork.
        covered_weight: of such a patch, beside one of a clear picture.
        patch_weight: of the loss of single patches, beside that of the picture.
        line_weight: of the distance from the line between the two words.
    """

    align_steps: int = Field(ge=1)
    align_batch: int = Field(ge=2, multiple_of=2)
    align_updates: int = Field(ge=1)
    align_rate: float = Field(gt=0)
    steps: int = Field(ge=0)
    full_steps: int = Field(ge=0)
    batch_size: int = Field(ge=2, multiple_of=2)
    kept_patches: int = Field(ge=4, le=256)
    learning_rate: float = Field(gt=0)
    align_weight: float = Field(ge=0)
    warmup: int = Field(ge=1)
    least_rate: Share = Field(ge=0, le=1)
    weight_decay: float = Field(ge=0)
    clip_norm: float = Field(gt=0)
    share_gain: float = Field(gt=0)
    share_margin: float = Field(ge=0)
    covered: Share = Field(gt=0, le=1)
    covered_weight: float = Field(ge=0)
    patch_weight: float = Field(ge=0)
    line_weight: float = Field(ge=0)
    seed: int


class VlmParams(Section):
    """Section `vlm`: stage 3, the vision-language model."""

    backend: Literal["transformers", "server", "off"]
    model: VlmModelParams
    clip_model: VlmModelParams | None
    prompt: str = Field(min_length=1)
    yes_words: tuple[str, ...] = Field(min_length=1)
    no_words: tuple[str, ...] = Field(min_length=1)
    exit_high: Share = Field(gt=0.5, le=1)
    exit_low: Share = Field(ge=0, lt=0.5)
    scaling: Literal["temperature", "platt"]
    cut_resamples: int = Field(ge=1)
    min_mass: Share = Field(gt=0, le=1)
    max_tokens: int = Field(ge=1, le=4096)
    thinking: bool
    time_limit_seconds: float = Field(gt=0)
    retries: int = Field(ge=0)
    batch_size: int = Field(ge=1)
    max_side: int = Field(ge=28)
    clip_frames: int = Field(ge=1)
    threads: int = Field(ge=1)
    device: Literal["cpu", "cuda"]
    calibration_images: int = Field(ge=0)
    seed: int
    server: VlmServerParams
    training: ProjectorTrainingParams

    @model_validator(mode="after")
    def _card_is_booked(self) -> VlmParams:
        """What a server takes of a card is asked for at its start, and nobody can tell it from the model's files."""
        asleep = self.server.sleeping_gib if self.clip_model else 0.0
        if (self.backend, self.device) == ("server", "cuda") and self.server.memory_gib <= asleep:
            raise ValueError(
                f"server.memory_gib: {self.server.memory_gib:g} GiB of the card leave nothing for the server that is "
                "awake; backend server with device cuda needs more"
            )
        return self
