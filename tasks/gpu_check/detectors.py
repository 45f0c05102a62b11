"""Stage 2: both detectors, serving and in training. Import this only where torch is wanted."""

from __future__ import annotations

import time
from typing import Any

import torch

from cascade.detection.boxes import CLASSES
from tasks.config.detect import DetrParams, YoloParams
from tasks.gpu_check.configuration import find, of_transformers
from tasks.gpu_check.memory import Meter
from tasks.gpu_check.timing import doubled, half, random_pixels, scan, scan_graphs
from tasks.gpu_check.training import Shown, millions, train_steps
from tasks.gpu_check.work import Figures, Work

MOST = 16  # pictures a call
GRAPHS = (1, MOST)
BOXES = 8  # a picture, in training
ANY_COMMIT = "0" * 40


def serve_yolo(work: Work) -> Figures:
    """YOLO11 of the profile's scale."""
    return _serve(work, _yolo)


def serve_detr(work: Work) -> Figures:
    """RF-DETR or RT-DETR of the profile."""
    return _serve(work, _detr)


def train_yolo(work: Work) -> Figures:
    """Steps of its training."""
    return _train(work, _yolo, work.params.detect.yolo)


def train_detr(work: Work) -> Figures:
    """Steps of its training."""
    return _train(work, _detr, work.params.detect.detr)


def _serve(work: Work, build: Any) -> Figures:
    meter, begun = Meter(work), time.perf_counter()
    work.phase("building the detector")
    model = build(work).eval().to(work.device)
    load = time.perf_counter() - begun
    meter.restart()
    most = 2 if work.tiny else MOST
    pixels = random_pixels(model.size)

    def forward(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode(), half(work):
            corners, scores = model(batch)
        return corners.float(), scores.float()

    ms = scan(work, forward, pixels, doubled(most, min(most, work.params.timeouts.batch)))
    graphs, note = scan_graphs(work, forward, pixels, GRAPHS)
    return Figures(
        precision="float32" if work.device == "cpu" else "bfloat16, by autocast",
        million_parameters=millions(model),
        load_seconds=load,
        ms=ms,
        graph_ms=graphs,
        peak_gib=meter.peak_gib(),
        note=note,
    )


def _train(work: Work, build: Any, params: YoloParams | DetrParams) -> Figures:
    from tasks.detection.target import Target

    meter, begun = Meter(work), time.perf_counter()
    work.phase("building the detector")
    model = build(work).to(work.device)
    load = time.perf_counter() - begun
    meter.restart()
    generator = torch.Generator().manual_seed(0)
    shown = []
    for pixels in random_pixels(model.size)(params.batch_size).numpy():
        centre, side = torch.rand(2, BOXES, 2, generator=generator) * 0.4 + 0.3
        classes = torch.randint(0, len(CLASSES), (BOXES,), generator=generator)
        shown.append(Shown(pixels, Target(classes, torch.cat([centre, side / 4], dim=1))))
    training = work.params.training
    return train_steps(work, model, shown, training, rate=params.learning_rate, meter=meter, load=load)


def _yolo(work: Work) -> Any:
    from tasks.detection.yolo import Yolo

    return Yolo(work.params.detect.yolo)


def _detr(work: Work) -> Any:
    """A `Detr` of random weights; one of a repository is saved first, and read back as that would be."""
    from tasks.detection.detr import Detr
    from tasks.gpu_check.classifier import write_backbone

    params = work.params.detect.detr
    if params.repo is None:
        return Detr(params, write_backbone(work))
    folder = work.folder / "detr"
    _network(params.family, find(params.repo).sized(tiny=work.tiny)).save_pretrained(folder)
    return Detr(params.model_copy(update={"repo": str(folder), "revision": ANY_COMMIT}), work.folder)


def _network(family: str, config: dict[str, Any]) -> Any:
    name = "RfDetr" if family == "rf_detr" else "RTDetr"
    return of_transformers(f"{name}ForObjectDetection")(of_transformers(f"{name}Config")(**config))
