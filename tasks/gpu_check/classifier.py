"""Stage 1: the backbone with its head, and the training of its low-rank changes. Import this only with torch."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tasks.classifier.head import HeadShape, make_head, save_head
from tasks.classifier.model import Classifier
from tasks.gpu_check.configuration import find
from tasks.gpu_check.memory import Meter
from tasks.gpu_check.timing import doubled, random_pixels, scan, scan_graphs
from tasks.gpu_check.training import Shown, millions, train_steps
from tasks.gpu_check.work import Figures, Work

MOST = 64  # pictures a call
GRAPHS = (1, MOST)
COVER = 0.5  # of the patches, in training


def serve(work: Work) -> Figures:
    """Pictures to calibrated logits, as `tasks.classifier.model.Classifier` computes them, in bf16 on a card."""
    meter, begun = Meter(work), time.perf_counter()
    work.phase("building the classifier")
    model = Classifier(write_backbone(work), *_write_head(work)).eval().to(work.device)
    if work.device == "cuda":
        model.backbone.in_precision(torch.bfloat16)
    load = time.perf_counter() - begun
    meter.restart()
    most = 2 if work.tiny else MOST
    pixels = random_pixels(work.params.embed.size)

    def forward(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            return (model(batch).float(),)

    ms = scan(work, forward, pixels, doubled(most, min(most, work.params.export.batch.maximum)))
    graphs, note = scan_graphs(work, forward, pixels, GRAPHS)
    return Figures(
        precision=str(model.backbone.token.dtype).removeprefix("torch."),
        million_parameters=millions(model),
        load_seconds=load,
        ms=ms,
        graph_ms=graphs,
        peak_gib=meter.peak_gib(),
        note=note,
    )


def serve_conv(work: Work) -> Figures:
    """The same with the head that reads every patch, for a profile that has another one."""
    params = work.params
    changes = {
        "train": params.train.model_copy(update={"head": "conv"}),
        "embed": params.embed.model_copy(update={"pooling": "none"}),
    }
    return serve(replace(work, params=params.model_copy(update=changes)))


def adapt(work: Work) -> Figures:
    """Steps of `adapt.mode: train`: low-rank changes to the blocks, and the conv head."""
    from tasks.classifier.lora.model import LoraBackbone, ViewTarget

    meter, begun = Meter(work), time.perf_counter()
    work.phase("building the backbone with low-rank changes")
    params = work.params
    model = LoraBackbone(write_backbone(work), params.embed.layers, params.embed.size, params.adapt, params.train)
    model.to(work.device)
    load = time.perf_counter() - begun
    meter.restart()
    pixels = random_pixels(params.embed.size)(params.adapt.batch_size).numpy()
    model.standardize(pixels[:2])
    cover = torch.full((model.head.side**2,), COVER)
    shown = [
        Shown(one, ViewTarget(torch.tensor(float(number % 2)), cover, torch.tensor(1.0)))
        for number, one in enumerate(pixels)
    ]
    return train_steps(work, model, shown, params.training, rate=params.adapt.learning_rate, meter=meter, load=load)


def write_backbone(work: Work) -> Path:
    """Save a `Dinov2Model` of the profile's size, with random weights, and give its folder."""
    from transformers import Dinov2Config, Dinov2Model

    folder = work.folder / "backbone"
    with torch.device(work.device):
        model = Dinov2Model(Dinov2Config(**find(work.params.pull.backbone.repo).sized(tiny=work.tiny)))
    model.save_pretrained(folder)
    return folder


def _write_head(work: Work) -> tuple[Path, dict[str, Any]]:
    """Save a random head of the profile's kind; gives its folder and its head.json."""
    params, config = work.params, json.loads((work.folder / "backbone" / "config.json").read_text(encoding="utf-8"))
    channels = config["hidden_size"] * len(params.embed.layers)
    tokens = 1 + (params.embed.size // config["patch_size"]) ** 2
    width = channels * (3 if params.embed.pooling == "statistics" else tokens)
    shape = HeadShape.of_params(params.train, width, channels)
    folder = work.folder / "head"
    folder.mkdir()
    save_head(make_head(shape), folder)
    features = {"layers": params.embed.layers, "size": params.embed.size, "pooling": params.embed.pooling}
    return folder, {**shape.as_document(), **features, "calibration": {"a": 1.0, "b": 0.0}}
