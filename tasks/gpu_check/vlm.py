"""Stage 3: the vision-language models of pictures and of clips, in process. Import this only where torch is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from cascade.vlm.base import Clip, VlmAnswer
from cascade.vlm.local import LocalVlm
from cascade.vlm.settings import VlmSettings
from tasks.gpu_check import stand_ins
from tasks.gpu_check.configuration import find, of_transformers
from tasks.gpu_check.memory import Meter
from tasks.gpu_check.timing import milliseconds
from tasks.gpu_check.training import millions
from tasks.gpu_check.work import CheckFailedError, Figures, Work
from tasks.llava.settings import UNSCALED, settings_of

VIEW, FRAME = (1024, 768), (640, 360)  # px
NOISE = 60  # standard deviation of a picture's grey levels
NO_LIMIT = 1e6  # s: the whole of a call is timed
ANY_MASS = 1e-30  # P(yes) + P(no) that counts as an answer: random weights give hardly any
NO_MASS = 1.0  # ... and that never does, so that the model goes on until `vlm.max_tokens`


class RandomVlm(LocalVlm):
    """The stage's model with random weights.

    Args:
        folder: of configuration and processor.
        settings: as for `LocalVlm`.
        model: of the real class.
    """

    def __init__(self, folder: Path, settings: VlmSettings, model: Any) -> None:
        super().__init__(str(folder), settings)
        self._random = model

    def _weights(self) -> Any:
        return self._random

    def close(self) -> None:
        """See `LocalVlm.close`."""
        super().close()
        self._random = None


def serve_pictures(work: Work) -> Figures:
    """Pictures of 1024 px: one, and as many as the stage takes at a time."""
    picture = Image.effect_noise(VIEW, NOISE).convert("RGB")
    sizes = sorted({1, work.params.vlm.batch_size})
    return _serve(work, work.params.vlm.model.repo, {size: [picture] * size for size in sizes})


def serve_clips(work: Work) -> Figures:
    """A clip of as many frames as the stage takes."""
    frame = Image.effect_noise(FRAME, NOISE).convert("RGB")
    clip = Clip((frame,) * work.params.vlm.clip_frames, 1.0)
    source = work.params.vlm.clip_model
    return _serve(work, source.repo if source else None, {1: [clip]})


def _serve(work: Work, repo: str | None, calls: dict[int, list[Any]]) -> Figures:
    meter, begun = Meter(work), time.perf_counter()
    work.phase(f"building {repo}")
    folder, model = build(work, repo)
    vlm, silent = (RandomVlm(folder, _settings(work, folder, mass), model) for mass in (ANY_MASS, NO_MASS))
    vlm.load()
    load, parameters = time.perf_counter() - begun, millions(model)
    meter.restart()
    ms = {}
    for size, items in calls.items():
        work.phase(f"{size} a call")
        _check_answered(vlm.run(items))
        ms[size] = milliseconds(partial(vlm.run, items))
    work.phase("an answer that is neither yes nor no")
    silent.load()
    longest = milliseconds(lambda: silent.run(calls[1]))
    peak = meter.peak_gib()
    del model
    vlm.close()
    silent.close()
    return Figures(
        precision=str(_dtype(work)).removeprefix("torch."),
        million_parameters=parameters,
        load_seconds=load,
        ms=ms,
        longest_ms=longest,
        peak_gib=peak,
        left_gib=meter.now_gib(),
    )


def build(work: Work, repo: str | None) -> tuple[Path, Any]:
    """Save a processor, and make the model that belongs to it on the device.

    Returns:
        The processor's folder, and the model.
    """
    config = find(repo).sized(tiny=work.tiny)
    # before its processor, whose import would say less
    of_transformers(f"{_family(config)}Config")
    folder = work.folder / "processor"
    markers, make = (
        (stand_ins.MOLMO_MARKERS, stand_ins.molmo_processor)
        if _family(config) == "Molmo2"
        else (stand_ins.GLM_MARKERS, stand_ins.glm_processor)
    )
    tokenizer = stand_ins.words(markers)
    make(tokenizer, tiny=work.tiny).save_pretrained(folder)
    with torch.device(work.device):
        model = random_model(config, tokenizer, _dtype(work))
    model.config.save_pretrained(folder)
    return folder, model


def random_model(config: dict[str, Any], tokenizer: Any, dtype: torch.dtype) -> Any:
    """A `Molmo2ForConditionalGeneration` where the configuration has an adapter, else a `Glm4vFor...`."""
    family = _family(config)
    ids = (molmo_ids if family == "Molmo2" else glm_ids)(tokenizer.convert_tokens_to_ids)
    made = of_transformers(f"{family}Config")(**config, **ids)
    return of_transformers(f"{family}ForConditionalGeneration")._from_config(made, dtype=dtype)


def _family(config: dict[str, Any]) -> str:
    return "Molmo2" if "adapter_config" in config else "Glm4v"


def glm_ids(of: Callable[[str], int]) -> dict[str, int]:
    """Ids of GLM's markers in a configuration."""
    return {
        "image_token_id": of("<|image|>"),
        "video_token_id": of("<|video|>"),
        "image_start_token_id": of("<|begin_of_image|>"),
        "image_end_token_id": of("<|end_of_image|>"),
        "video_start_token_id": of("<|begin_of_video|>"),
        "video_end_token_id": of("<|end_of_video|>"),
    }


def molmo_ids(of: Callable[[str], int]) -> dict[str, int]:
    """Ids of Molmo2's markers in a configuration."""
    return {
        "image_start_token_id": of("<im_start>"),
        "low_res_image_start_token_id": of("<low_res_im_start>"),
        "image_end_token_id": of("<im_end>"),
        "image_patch_id": of("<im_patch>"),
        "frame_start_token_id": of("<frame_start>"),
        "frame_end_token_id": of("<frame_end>"),
    }


def _settings(work: Work, folder: Path, mass: float) -> VlmSettings:
    changes = {"device": work.device, "time_limit_seconds": NO_LIMIT, "min_mass": mass}
    return settings_of(work.params.vlm, folder, UNSCALED).model_copy(update=changes)


def _dtype(work: Work) -> torch.dtype:
    return torch.bfloat16 if work.device == "cuda" else torch.float32


def _check_answered(answers: list[VlmAnswer]) -> None:
    if unanswered := [f"{one.kind}: {one.why}" for one in answers if one.kind != "answered"]:
        raise CheckFailedError(f"{len(unanswered)} of {len(answers)} without an answer: {unanswered[0]}")
