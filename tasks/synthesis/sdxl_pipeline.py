"""Stable Diffusion XL through diffusers: both pipelines over one set of weights, and what paints a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.config.synthesize import SdxlParams
from tasks.data.schema import DataError
from tasks.synthesis.source_images import SourceImages

if TYPE_CHECKING:
    from PIL import Image

    from tasks.synthesis.prompts import ImageOrder
    from tasks.synthesis.sdxl_weights import Weights

    Painter = Callable[[list[ImageOrder]], list[Image.Image]]


def dtype_name() -> str:
    """fp16 on CUDA, fp32 elsewhere."""
    import torch

    return "float16" if torch.cuda.is_available() else "float32"


def load_painter(params: SdxlParams, weights: Weights, every: list[ImageOrder], train: Path) -> Painter:
    """Load both pipelines over one set of weights, and give what paints a batch of one mode.

    Args:
        params: section `synthesize.sdxl`.
        weights: that are there.
        every: all orders, whose prompts are checked.
        train: parquet file of the train split, for image-to-image.

    Raises:
        DataError: weights are no SDXL, or a prompt has more tokens than the text encoders read.
    """
    text, image = pipelines(params, weights)
    check_prompts(text, every)
    sources = SourceImages(train, (params.width, params.height))
    active: list[str] = []

    def paint(batch: list[ImageOrder]) -> list[Image.Image]:
        mode = batch[0].mode
        pipe = text if mode == "text" else image
        if active != [mode]:
            place(pipe, params.offload, accelerator())
            active[:] = [mode]
        return paint_batch(pipe, params, batch, sources)

    return paint


def pipelines(params: SdxlParams, weights: Weights) -> tuple[Any, Any]:
    """`StableDiffusionXLPipeline` and `StableDiffusionXLImg2ImgPipeline` that share all components.

    fp16 on CUDA, fp32 elsewhere. The VAE of SDXL base overflows in fp16; its own configuration (`force_upcast`) makes
    diffusers decode in fp32, so it is left as it is.
    """
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    half = any((weights.folder / "unet").glob("*.fp16.safetensors"))
    dtype = getattr(torch, dtype_name())
    try:
        text = StableDiffusionXLPipeline.from_pretrained(
            weights.folder,
            dtype=dtype,
            variant="fp16" if half else None,
            use_safetensors=True,
            local_files_only=True,
            add_watermarker=False,
        )
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{weights.folder}: not an SDXL pipeline in safetensors: {error}") from None
    if weights.unet is not None:
        _become_lightning(text, weights.unet)
    text.set_progress_bar_config(disable=True)
    if params.vae_slicing:
        text.vae.enable_slicing()
    if params.vae_tiling:
        text.vae.enable_tiling()
    keep = {"force_zeros_for_empty_prompt": text.config.force_zeros_for_empty_prompt, "add_watermarker": False}
    image = StableDiffusionXLImg2ImgPipeline(**text.components, **keep)
    image.set_progress_bar_config(disable=True)
    return text, image


def _become_lightning(pipe: Any, unet: Path) -> None:
    """Put SDXL-Lightning's UNet in, with the schedule it was distilled for (model card of ByteDance/SDXL-Lightning)."""
    from diffusers import EulerDiscreteScheduler
    from safetensors.torch import load_file

    try:
        pipe.unet.load_state_dict(load_file(unet), strict=True)
    except RuntimeError as error:
        raise DataError(f"{unet}: not a UNet of this SDXL: {str(error)[:300]}") from None
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")


def check_prompts(pipe: Any, every: list[ImageOrder]) -> None:
    """Refuse prompts that the text encoders would cut off silently.

    Raises:
        DataError: names the longest prompt.
    """
    for text in sorted({text for order in every for text in (order.prompt, order.negative_prompt)}):
        for tokenizer in (pipe.tokenizer, pipe.tokenizer_2):
            count, most = len(tokenizer(text).input_ids), tokenizer.model_max_length
            if count > most:
                what = "shorten synthesize.attributes or negatives"
                raise DataError(f"{count} tokens, {most} are read; {what}: {text!r}")


def accelerator() -> str | None:
    """The device of the pipelines; None: the processor."""
    import torch

    return "cuda" if torch.cuda.is_available() else None


def place(pipe: Any, offload: str, device: str | None) -> None:
    """Put a pipeline where it runs; hooks that the other pipeline left on the shared models are taken off first.

    Args:
        pipe: the one that runs next.
        offload: none; model (one model at a time on the device, about 8 GB for SDXL at 1024 px); sequential (layer by
            layer: least memory, several times slower).
        device: None without an accelerator: all stays on the processor.
    """
    if device is None:
        if offload != "none":
            print(f"synthesize: no CUDA device: fp32 on the processor, offload {offload} is skipped", file=sys.stderr)
        return
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)


def paint_batch(pipe: Any, params: SdxlParams, batch: list[ImageOrder], sources: SourceImages) -> list[Image.Image]:
    """Paint a batch of one mode; noise comes from a generator a picture, on the processor, the same on all devices."""
    import torch

    given: dict[str, Any] = {
        "prompt": [order.prompt for order in batch],
        "num_inference_steps": params.steps,
        "guidance_scale": params.guidance,
        "generator": [torch.Generator("cpu").manual_seed(order.seed) for order in batch],
    }
    if params.guidance > 1:
        given["negative_prompt"] = [order.negative_prompt for order in batch]
    if batch[0].mode == "text":
        given |= {"width": params.width, "height": params.height}
    else:
        given["image"] = [sources.picture(order.source.sha256) for order in batch if order.source]
        given["strength"] = params.strength
    return list(pipe(**given).images)
