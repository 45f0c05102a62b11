"""The checks of a profile: what of its models is at hand in a configuration, and how long each may take."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.config import Params
from tasks.gpu_check.work import Check

BASE = ("torch", "transformers", "numpy", "PIL")
PROCESSORS = (*BASE, "torchvision")  # processors of pictures


def checks_of(params: Params) -> list[Check]:
    """All checks of a profile, in the order in which they run: those that tell most come first."""
    return [*_classifier(params), *_detectors(params), *_vlm(params), *_ocr(params), *_synthesis(params)]


def left_out(params: Params) -> list[str]:
    """What of the profile no check builds, and why."""
    found = []
    if params.vlm.backend == "off" or params.vlm.model.source == "shipped":
        found.append("vlm: its weights ship with this repository, or it is off")
    elif params.vlm.backend == "server":
        found.append("vlm: vLLM and 4-bit kernels; its models run in this process instead, in bf16")
    if params.ocr.backend != "florence2":
        found.append(f"ocr: {params.ocr.backend} runs on the processor")
    if params.synthesize.engine != "sdxl":
        found.append(f"synthesis: {params.synthesize.engine} runs on the processor")
    return found


def _classifier(params: Params) -> Iterator[Check]:
    repo = params.pull.backbone.repo
    yield Check("classifier", f"{repo}, head {params.train.head}", f"{__package__}.classifier:serve", "serve", BASE, 60)
    if params.train.head != "conv":
        yield Check("conv head", f"{repo}, head conv", f"{__package__}.classifier:serve_conv", "serve", BASE, 60)
    yield Check("adapt", f"{repo}, LoRA", f"{__package__}.classifier:adapt", "train", (*BASE, "peft"), 60)


def _detectors(params: Params) -> Iterator[Check]:
    yolo, detr = params.detect.yolo, params.detect.detr
    name = f"YOLO11{yolo.scale}, {yolo.size} px"
    libraries = (*BASE, "ultralytics")
    yield Check("yolo", name, f"{__package__}.detectors:serve_yolo", "serve", libraries, 60)
    yield Check("yolo training", name, f"{__package__}.detectors:train_yolo", "train", libraries, 90)
    name = f"{detr.repo or f'small {detr.family}'}, {detr.size} px"
    # the loss of transformers matches with it
    libraries = (*BASE, "scipy")
    yield Check("detr", name, f"{__package__}.detectors:serve_detr", "serve", BASE, 60)
    yield Check("detr training", name, f"{__package__}.detectors:train_detr", "train", libraries, 90)


def _vlm(params: Params) -> Iterator[Check]:
    vlm = params.vlm
    if vlm.backend != "off" and vlm.model.source != "shipped":
        yield Check("vlm", str(vlm.model.repo), f"{__package__}.vlm:serve_pictures", "serve", PROCESSORS, 90)
    if vlm.backend != "off" and vlm.clip_model is not None:
        yield Check("vlm clips", str(vlm.clip_model.repo), f"{__package__}.vlm:serve_clips", "serve", PROCESSORS, 90)


def _ocr(params: Params) -> Iterator[Check]:
    if params.ocr.backend == "florence2":
        yield Check("ocr", params.ocr.repo, f"{__package__}.ocr:serve", "serve", PROCESSORS, 90)


def _synthesis(params: Params) -> Iterator[Check]:
    sdxl = params.synthesize.sdxl
    if params.synthesize.engine == "sdxl":
        libraries = (*BASE, "diffusers", *(() if sdxl.offload == "none" else ("accelerate",)))
        yield Check("sdxl", sdxl.repo, f"{__package__}.sdxl:make", "make", libraries, 90)
