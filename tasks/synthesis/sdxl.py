"""Engine `sdxl`: Stable Diffusion XL through diffusers, text-to-image and image-to-image from the same weights."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from cascade.preprocess.image import decode
from tasks.common.files import new_folder, read_json, sha256, write_bytes, write_json
from tasks.config.synthesize import SdxlParams, SynthesizeParams
from tasks.data.schema import DataError, ImageRow
from tasks.synthesis.hub import Weights, facts, fetch, find_weights
from tasks.synthesis.prompts import COLUMNS, ImageOrder, batches, orders, origin, read_sources
from tasks.synthesis.work import WORK, SyntheticImage, fingerprint, workplace

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 95  # JPEG, as the subnet sends pictures
ANY_SIZE = 1 << 40
Painter = Callable[[list[ImageOrder]], "list[Image.Image]"]


def make(params: SynthesizeParams, train: Path, root: Path = WORK) -> tuple[list[SyntheticImage], dict[str, Any]]:
    """Make every picture that is ordered and not there yet.

    A batch is kept as one folder that appears when all its pictures are whole: pictures of a batch are computed
    together, so a batch cut in two could come out in other bits.

    Args:
        params: section `synthesize`.
        train: parquet file of the train split, for image-to-image.
        root: where work folders lie.

    Returns:
        The pictures, and what the manifest says of the engine.

    Raises:
        DataError: weights cannot be had, a prompt is too long, or no train picture fits the slices.
    """
    weights = find_weights(params.sdxl)
    every = orders(params, read_sources(train))
    plan = list(enumerate(batches(every, params.sdxl.batch_size)))
    about = facts(params.sdxl, weights)
    settings = {**about, "dtype": _dtype_name(), "batch_size": params.sdxl.batch_size}
    name = fingerprint({"orders": every, "settings": settings})
    with workplace(root, name) as (folder, _):
        todo = [(number, batch) for number, batch in plan if not _batch(folder, number).is_dir()]
        if todo:
            _paint_all(todo, folder, load(params.sdxl, every, train), about, len(every))
        pictures = [picture for number, _ in plan for picture in _read(_batch(folder, number))]
    order = {item.name: index for index, item in enumerate(sorted(every, key=lambda item: (-item.label, item.number)))}
    return sorted(pictures, key=lambda item: order[Path(item.row.name).stem]), {**about, "work": name}


def _batch(folder: Path, number: int) -> Path:
    return folder / f"batch_{number:05d}"


def _paint_all(
    todo: list[tuple[int, list[ImageOrder]]], folder: Path, paint: Painter, about: dict[str, Any], total: int
) -> None:
    done = total - sum(len(batch) for _, batch in todo)
    with tqdm(total=total, initial=done, desc="synthesize", unit="picture") as bar:
        for number, batch in todo:
            images = paint(batch)
            with new_folder(_batch(folder, number)) as partial:
                for order, image in zip(batch, images, strict=True):
                    _write(partial, order, image, about)
            bar.update(len(batch))


def _write(folder: Path, order: ImageOrder, image: Image.Image, about: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=QUALITY)
    write_bytes(folder / f"{order.name}.jpg", buffer.getvalue())
    document = {"engine": "sdxl", **origin(order), **{k: v for k, v in about.items() if k != "source"}}
    if order.source is None:
        del document["strength"]
    # pictures made from one place stay with it, so that a split by place holds for them too
    place = order.source.place if order.source else f"{order.name}-{order.seed}"
    write_json(folder / f"{order.name}.json", {"label": order.label, "place": place, "origin": document})


def _read(folder: Path) -> list[SyntheticImage]:
    return [_picture(path) for path in sorted(folder.glob("*.jpg"))]


def _picture(path: Path) -> SyntheticImage:
    document, data = read_json(path.with_suffix(".json")), path.read_bytes()
    made = document["origin"]
    row = ImageRow(
        data=data,
        name=path.name,
        label=document["label"],
        sha256=sha256(data),
        place=document["place"],
        # NATIX's data has a description exactly where there are roadworks
        scene_description=made["prompt"] if document["label"] else "",
        source="sdxl",
        slices={name: made["attributes"][name] for name in COLUMNS},
    )
    return SyntheticImage(row, made)


def _dtype_name() -> str:
    import torch

    return "float16" if torch.cuda.is_available() else "float32"


def load(params: SdxlParams, every: list[ImageOrder], train: Path) -> Painter:
    """Load both pipelines over one set of weights, and give what paints a batch of one mode.

    Raises:
        DataError: weights cannot be had or are no SDXL, or a prompt has more tokens than the text encoders read.
    """
    fetch(params)
    text, image = pipelines(params, find_weights(params))
    check_prompts(text, every)
    sources = SourceImages(train, (params.width, params.height))
    active: list[str] = []

    def paint(batch: list[ImageOrder]) -> list[Image.Image]:
        mode = batch[0].mode
        pipe = text if mode == "text" else image
        if active != [mode]:
            place(pipe, params.offload, _accelerator())
            active[:] = [mode]
        return run(pipe, params, batch, sources)

    return paint


def pipelines(params: SdxlParams, weights: Weights) -> tuple[Any, Any]:
    """`StableDiffusionXLPipeline` and `StableDiffusionXLImg2ImgPipeline` that share all components.

    fp16 on CUDA, fp32 elsewhere. The VAE of SDXL base overflows in fp16; its own configuration (`force_upcast`) makes
    diffusers decode in fp32, so it is left as it is.
    """
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    half = any((weights.folder / "unet").glob("*.fp16.safetensors"))
    dtype = getattr(torch, _dtype_name())
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
    """Refuse what the text encoders would cut off silently.

    Raises:
        DataError: names the longest prompt.
    """
    for text in sorted({text for order in every for text in (order.prompt, order.negative_prompt)}):
        for tokenizer in (pipe.tokenizer, pipe.tokenizer_2):
            count, most = len(tokenizer(text).input_ids), tokenizer.model_max_length
            if count > most:
                what = "shorten synthesize.attributes or negatives"
                raise DataError(f"{count} tokens, {most} are read; {what}: {text!r}")


def _accelerator() -> str | None:
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


def run(pipe: Any, params: SdxlParams, batch: list[ImageOrder], sources: SourceImages) -> list[Image.Image]:
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


class SourceImages:
    """The pictures that image-to-image starts from, read when they are needed: all of them would not fit in memory."""

    def __init__(self, train: Path, size: tuple[int, int]) -> None:
        import pyarrow.parquet as pq

        self._file, self._size = pq.ParquetFile(train), size
        self._group = {
            digest: group
            for group in range(self._file.num_row_groups)
            for digest in self._file.read_row_group(group, columns=["sha256"])["sha256"].to_pylist()
        }

    def picture(self, digest: str) -> Image.Image:
        """Cut and scaled to the size of the output."""
        from PIL import Image, ImageOps

        rows = self._file.read_row_group(self._group[digest], columns=["image", "sha256"]).to_pylist()
        data = next(row["image"]["bytes"] for row in rows if row["sha256"] == digest)
        image = decode(data, max_pixels=ANY_SIZE, min_side=1)
        return ImageOps.fit(image, self._size, Image.Resampling.LANCZOS)
