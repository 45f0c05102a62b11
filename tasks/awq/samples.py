"""Calibration data of our own: street pictures, the prompt of the VLM or another question, and the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from cascade.preprocess.image import BadImage
from cascade.vlm.prompt import longer, to_tensors
from cascade.vlm.settings import VlmSettings
from tasks.awq.backend import Encoded, QuantizeError
from tasks.data.pictures import decode_stored
from tasks.data.schema import DataError, read_records
from tasks.data.views import LEVELS, View, make_view

if TYPE_CHECKING:
    from PIL import Image

    from tasks.config import QuantizeParams

SIDE = 224  # px of a view, as the validators send it
# pictures that are tried for one that is kept
TRIES = 2
# every other sample: the weights shall stay good for more than one token
DESCRIBE, NOTHING = "What does this street picture show?", "A street without roadworks."
COLUMNS = ["image", "label", "sha256", "scene_description"]


@dataclass(frozen=True)
class CalibrationView:
    """One view as a validator would send it: its row's number, pixels, 0 or 1, and words where there are any."""

    number: int
    image: Image.Image
    label: int
    description: str


def calibration_views(
    split: Path, count: int, seed: int, broken: Counter[str] | None = None
) -> Iterator[CalibrationView]:
    """Give views of `count` pictures of a split, labels by turns, the same choice and the same views at each call.

    Args:
        split: parquet file.
        count: at most.
        seed: of choice and views.
        broken: counts pictures that cannot be decoded under "corrupt"; None: they are an error.

    Raises:
        DataError: the split cannot be read, lacks a label, or holds a broken picture.
    """
    from PIL import Image

    chosen = _chosen([row["label"] for row in read_records(split, columns=["label"], batch=1024)], count, seed, split)
    for number, row in enumerate(read_records(split, columns=COLUMNS)):
        if number not in chosen:
            continue
        view = View(LEVELS[number % len(LEVELS)])
        try:
            image = decode_stored(row["image"]["bytes"])
        except BadImage as error:
            if broken is None:
                raise DataError(f"{split}: {row['image']['path']}: {error}; `dvc repro pull_data`") from None
            broken["corrupt"] += 1
            continue
        pixels, _ = make_view(image, view, key=row["sha256"], seed=seed, size=SIDE)
        yield CalibrationView(number, Image.fromarray(pixels), row["label"], row["scene_description"] or "")


def _chosen(labels: list[int], count: int, seed: int, split: Path) -> set[int]:
    """Numbers of rows, as many of each label as there are, up to a half."""
    random, chosen = np.random.default_rng(seed), list[int]()
    for label in (0, 1):
        members = [number for number, found in enumerate(labels) if found == label]
        if not members:
            raise DataError(f"{split}: no picture has label {label}; the VLM is calibrated on both")
        chosen += [members[place] for place in random.permutation(len(members))[: -(-count // 2)]]
    return set(chosen)


def encoded(
    source: Path, split: Path, settings: VlmSettings, params: QuantizeParams
) -> tuple[list[Encoded], dict[str, int]]:
    """Samples as the model's processor gives them, and how many were kept and dropped for what.

    Raises:
        QuantizeError: fewer are left than quantize.min_samples.
        DataError: see `calibration_views`.
    """
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    counts: Counter[str] = Counter(used=0, too_long=0, corrupt=0)
    samples: list[Encoded] = []
    wanted = calibration_views(split, TRIES * params.samples, params.seed, counts)
    with tqdm(total=params.samples, desc="calibration", unit="sample") as bar:
        for picture in wanted:
            sample = _sample(processor, picture, settings, describe=len(samples) % 2 == 1)
            if sample["input_ids"].shape[1] > params.length:
                counts["too_long"] += 1
                continue
            samples.append(sample)
            bar.update()
            if len(samples) == params.samples:
                break
    counts["used"] = len(samples)
    if len(samples) < params.min_samples:
        raise QuantizeError(
            f"{len(samples)} calibration samples are left, quantize.min_samples is {params.min_samples}: "
            f"{counts['too_long']} were longer than quantize.length ({params.length} tokens), {counts['corrupt']} "
            f"pictures of {split} cannot be decoded"
        )
    return samples, dict(counts)


def _sample(processor: Any, picture: CalibrationView, settings: VlmSettings, *, describe: bool) -> Encoded:
    """What the VLM would send, followed by the true answer."""
    question = DESCRIBE if describe else settings.prompt
    short = settings.yes_words[0] if picture.label else settings.no_words[0]
    answer = (picture.description or NOTHING) if describe else short.capitalize()
    given = to_tensors(processor, [picture.image], settings, question)
    return longer(given, processor.tokenizer.encode(answer, add_special_tokens=False))
