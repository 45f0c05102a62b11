"""Which files are fetched, and what is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.common.hub import HubError
from tasks.data.schema import DataError
from tasks.synthesis import sdxl_weights
from tests.support.synthesis import params

# as stabilityai/stable-diffusion-xl-base-1.0 lists them
BASE = [
    "LICENSE.md",
    "sd_xl_base_1.0.safetensors",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    *[f"{name}/config.json" for name in ("text_encoder", "text_encoder_2", "unet", "vae", "vae_1_0")],
    *[f"{name}/{file}" for name in ("text_encoder", "text_encoder_2") for file in ("model.safetensors", "model.onnx")],
    *[f"{name}/model.fp16.safetensors" for name in ("text_encoder", "text_encoder_2")],
    *[f"{name}/diffusion_pytorch_model.safetensors" for name in ("unet", "vae", "vae_1_0")],
    *[f"{name}/diffusion_pytorch_model.fp16.safetensors" for name in ("unet", "vae")],
    "unet/diffusion_pytorch_model.bin",
]


def test_half_precision_safetensors_and_settings_are_chosen() -> None:
    chosen = sdxl_weights.choose_files(BASE)
    assert {"model_index.json", "unet/config.json", "tokenizer/merges.txt"} <= set(chosen)
    weights = [name for name in chosen if name.endswith(".safetensors")]
    assert len(weights) == 4
    assert all(".fp16." in name for name in weights)
    assert not [name for name in chosen if name.endswith((".bin", ".onnx")) or name.startswith("vae_1_0")]


def test_full_precision_where_there_is_no_half() -> None:
    chosen = sdxl_weights.choose_files([name for name in BASE if not name.startswith("vae/") or ".fp16." not in name])
    assert "vae/diffusion_pytorch_model.safetensors" in chosen


@pytest.mark.parametrize(
    ("files", "names", "message"),
    [
        # only a pickle of the UNet
        ([name for name in BASE if not (name.startswith("unet/") and "safetensors" in name)], [], "unet/"),
        # Lightning's file is not there
        (BASE, ["sdxl_lightning_4step_unet.safetensors"], "sdxl_lightning"),
        # it is there, as a pickle
        ([*BASE, "x.ckpt"], ["x.ckpt"], "safetensors"),
    ],
)
def test_repository_without_what_is_needed(files: list[str], names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        sdxl_weights.choose_files(files, names)


def test_hub_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdxl_weights, "CACHE", tmp_path)
    given = params(engine="sdxl", sdxl__revision="a" * 40).sdxl
    assert sdxl_weights.find_weights(given).identity["revision"] == "a" * 40
    with pytest.raises(HubError, match=r"does not answer|no request is made"):
        sdxl_weights.fetch(given)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        # an empty folder
        ([], "model_index"),
        # a pickle beside the rest
        (["model_index.json", "unet/model.bin"], "unet/model.bin"),
        # code that a pipeline could bring along
        (["model_index.json", "pipeline.py"], "pipeline.py"),
    ],
)
def test_folder_that_is_refused(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match=message):
        sdxl_weights.find_weights(params(engine="sdxl", sdxl__folder=str(tmp_path)).sdxl)


def test_licence_is_stated_for_every_variant() -> None:
    given = params(engine="sdxl", sdxl__revision="a" * 40).sdxl
    for variant in ("base", "lightning", "turbo"):
        changed = given.model_copy(update={"variant": variant})
        assert sdxl_weights.facts(changed, sdxl_weights.find_weights(given))["licence"]
    assert "non-commercial" in sdxl_weights.LICENCES["turbo"]
