"""The configurations of real sizes are those of the published models: counted on torch's device without memory."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from tasks.gpu_check.configuration import Configuration, UnknownModelError, configurations, find, of_transformers


@pytest.mark.parametrize("repo", [None, "someone/else"])
def test_a_repository_without_a_configuration(repo: str | None) -> None:
    with pytest.raises(UnknownModelError, match=r"tasks/gpu_check/configurations; known: .*dinov2-large"):
        find(repo)


def test_transformers_without_a_model() -> None:
    with pytest.raises(UnknownModelError, match=r"transformers \d+\..* has no Molmo9Config; a newer version has"):
        of_transformers("Molmo9Config")


def build(one: Configuration) -> list[Any]:
    """The model's parts, from its real size."""
    import torch

    from tasks.gpu_check import detectors, ocr, sdxl, stand_ins, vlm

    config = one.config
    if "dinov2" in one.repo:
        from transformers import Dinov2Config, Dinov2Model

        return [Dinov2Model(Dinov2Config(**config))]
    if "detr" in one.repo:
        return [detectors._network("rf_detr" if "rf-detr" in one.repo else "rt_detr", config)]
    if "unet" in config:
        parts = sdxl.build(config, "meta").components.values()
        return [part for part in parts if isinstance(part, torch.nn.Module)]
    if "Florence" in one.repo:
        return [ocr.random_model(config, {f"{name}_token_id": 1 for name in ("bos", "eos", "pad", "image")})]
    markers = stand_ins.MOLMO_MARKERS if "Molmo" in one.repo else stand_ins.GLM_MARKERS
    return [vlm.random_model(config, stand_ins.words(markers), torch.bfloat16)]


# diffusers takes seconds to import
SLOW = {"stabilityai/stable-diffusion-xl-base-1.0"}


@pytest.mark.parametrize(
    "one",
    [pytest.param(one, marks=[pytest.mark.slow] if one.repo in SLOW else [], id=one.repo) for one in configurations()],
)
def test_as_many_parameters_as_published(one: Configuration) -> None:
    import torch

    # SDXL is given its device, as its scheduler computes on the host
    with nullcontext() if "unet" in one.config else torch.device("meta"):
        parts = build(one)
    count = sum(weight.numel() for part in parts for weight in part.parameters()) / 1e6
    assert count == pytest.approx(one.million_parameters, rel=0.01)
    assert one.source
    assert find(one.repo.upper()) == one
