"""Stage 4: Florence-2. Import this only where torch is wanted."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from cascade.stages.ocr import OcrStage
from tasks.gpu_check.configuration import find
from tasks.gpu_check.memory import Meter
from tasks.gpu_check.stand_ins import write_florence_processor
from tasks.gpu_check.timing import milliseconds
from tasks.gpu_check.training import millions
from tasks.gpu_check.work import CheckFailedError, Figures, Work

VIEW = (960, 720)  # px
NOISE = 60  # standard deviation of a picture's grey levels
NOTE = "random weights read as long as the stage lets them: this is the longest answer"


def serve(work: Work) -> Figures:
    """Pictures through `OcrStage`: one, and as many as a call of the stage has."""
    meter, begun = Meter(work), time.perf_counter()
    work.phase("building Florence-2")
    folder, parameters = write_florence(work)
    stage = OcrStage(work.params.ocr.model_copy(update={"device": work.device}), folder)
    stage.load()
    load = time.perf_counter() - begun
    meter.restart()
    picture = Image.effect_noise(VIEW, NOISE).convert("RGB")
    ms = {}
    for size in sorted({1, work.params.timeouts.batch}):
        work.phase(f"{size} pictures a call")
        ms[size] = milliseconds(partial(_read, stage, [picture] * size))
    peak = meter.peak_gib()
    stage.unload()
    return Figures(
        precision="bfloat16" if work.device == "cuda" else "float32",
        million_parameters=parameters,
        load_seconds=load,
        ms=ms,
        peak_gib=peak,
        left_gib=meter.now_gib(),
        note=NOTE,
    )


def write_florence(work: Work) -> tuple[Path, float]:
    """Save a Florence-2 of the profile's size, with random weights; gives its folder, and parameters in millions."""
    config = find(work.params.ocr.repo).sized(tiny=work.tiny)
    folder = work.folder / "florence"
    ids = write_florence_processor(folder, config["text_config"]["vocab_size"], tiny=work.tiny)
    with torch.device(work.device):
        model = random_model(config, ids)
    model.to(torch.bfloat16 if work.device == "cuda" else torch.float32).save_pretrained(folder)
    return folder, millions(model)


def random_model(config: dict[str, Any], ids: dict[str, int]) -> Any:
    """A `Florence2ForConditionalGeneration` for a tokenizer with these ids (`write_florence_processor`)."""
    from transformers import Florence2Config, Florence2ForConditionalGeneration

    text_ids = {name: number for name, number in ids.items() if name != "image_token_id"}
    end = {"decoder_start_token_id": ids["eos_token_id"], "forced_eos_token_id": ids["eos_token_id"]}
    text = {**config["text_config"], **text_ids, **end}
    made = Florence2Config(
        text_config=text, vision_config=config["vision_config"], image_token_id=ids["image_token_id"]
    )
    return Florence2ForConditionalGeneration(made)


def _read(stage: OcrStage, pictures: list[Image.Image]) -> None:
    found = stage.predict(pictures)
    if len(found) != len(pictures):
        raise CheckFailedError(f"{len(found)} answers to {len(pictures)} pictures")
