"""Synthesis: Stable Diffusion XL. Import this only where torch and diffusers are wanted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tasks.gpu_check.configuration import find
from tasks.gpu_check.memory import Meter
from tasks.gpu_check.stand_ins import clip_tokenizer
from tasks.gpu_check.timing import milliseconds
from tasks.gpu_check.training import millions
from tasks.gpu_check.work import CheckFailedError, Figures, Work
from tasks.synthesis.prompts import ImageOrder
from tasks.synthesis.sdxl_pipeline import paint_batch, place

PROMPT, NEGATIVE = "a street with a row of cones", "cartoon"


def make(work: Work) -> Figures:
    """Batches of text to image, with the steps, the size and the offload of the profile, in fp16 on a card."""
    meter, begun = Meter(work), time.perf_counter()
    params = work.params.synthesize.sdxl
    work.phase("building SDXL")
    pipe = build(find(params.repo).sized(tiny=work.tiny), work.device)
    parameters = sum(millions(part) for part in pipe.components.values() if isinstance(part, torch.nn.Module))
    if params.vae_slicing:
        pipe.vae.enable_slicing()
    if params.vae_tiling:
        pipe.vae.enable_tiling()
    place(pipe, params.offload, None if work.device == "cpu" else work.device)
    load = time.perf_counter() - begun
    meter.restart()
    work.phase(f"{params.batch_size} pictures of {params.steps} steps")
    orders = [ImageOrder(0, number, "text", PROMPT, NEGATIVE, number, {}) for number in range(params.batch_size)]
    return Figures(
        precision=str(pipe.unet.dtype).removeprefix("torch."),
        million_parameters=parameters,
        load_seconds=load,
        ms={len(orders): milliseconds(lambda: _paint(pipe, work, orders))},
        peak_gib=meter.peak_gib(),
        note=f"offload {params.offload}, {params.steps} steps, {params.width} x {params.height} px",
    )


def build(config: dict[str, Any], device: str) -> Any:
    """A `StableDiffusionXLPipeline` of random weights in main memory, fp16 where it will run on a card."""
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    words = clip_tokenizer()
    ends = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    dtype = torch.float16 if device == "cuda" else torch.float32
    with torch.device(device), local_dtype(dtype):
        parts = {
            "vae": AutoencoderKL(**config["vae"]),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**config["text_encoder"], **ends)),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**config["text_encoder_2"], **ends)),
            "unet": UNet2DConditionModel(**config["unet"]),
        }
    # as published with SDXL base 1.0
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
    )
    if device == "cuda":
        for part in parts.values():
            part.to("cpu")
    pipe = StableDiffusionXLPipeline(
        **parts, tokenizer=words, tokenizer_2=words, scheduler=scheduler, add_watermarker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def local_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make weights of this type inside the block: at fp32 they would take twice the memory for a moment."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _paint(pipe: Any, work: Work, orders: list[ImageOrder]) -> None:
    params = work.params.synthesize.sdxl
    # text to image alone: no source pictures
    pictures = paint_batch(pipe, params, orders, None)  # type: ignore[arg-type]
    if [picture.size for picture in pictures] != [(params.width, params.height)] * len(orders):
        raise CheckFailedError(f"pictures of {[picture.size for picture in pictures]} px")
