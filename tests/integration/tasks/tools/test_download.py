"""`streetvision download` against a Hub on loopback: kills, refusals, and steps that then find everything."""

from __future__ import annotations

import json
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hub_double import Hub, serving
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]
COMMIT = "a" * 40
# huggingface_hub writes pieces of 10 MiB: half of it must be more than one
SIZE = 24 << 20
KEYS = ("pull.backbone", "pull.data", "synthesize.sdxl", "detect.detr", "vlm.model", "vlm.clip_model", "ocr")
GPU24 = ["--profile", "gpu24", *(part for key in KEYS for part in ("--set", f"{key}.revision={COMMIT}"))]
VLM = [
    *GPU24,
    *(part for name in ("classifier", "data", "synthesize", "detectors", "ocr") for part in ("--skip", name)),
]
SDXL = [f"{name}/{file}" for name in ("text_encoder", "text_encoder_2", "unet", "vae")
        for file in ("config.json", "model.safetensors", "model.fp16.safetensors", "model.bin")]  # fmt: skip
# what each step does, without the training behind it; the Hub may be asked, but hands out no body
STEPS = """
import json, os, sys
from pathlib import Path
from tasks.config import load_params
from tasks.classifier import weights
from tasks.common.hub import fetch_snapshot
from tasks.data import readers
from tasks.llava.hub import fetch
from tasks.synthesis import sdxl_weights
from tasks.tools.profile import switch
switch("gpu24", json.loads(sys.argv[1]))
params = load_params()
weights.pull_weights(params.pull.backbone)
print(fetch_snapshot(readers.hub_snapshot(params.pull.data)))
sdxl_weights.fetch(params.synthesize.sdxl)
for model in (params.vlm.model, params.vlm.clip_model):
    fetch(model)
from huggingface_hub import constants
# from here on not even a question is allowed
constants.HF_HUB_OFFLINE = True
from tasks.detection.detr import _pretrained
from cascade.stages.ocr import OcrStage
_pretrained(params.detect.detr.model_copy(update={"size": 64}))
stage = OcrStage(params.ocr.model_copy(update={"device": "cpu"}), params.ocr.model)
stage.load()
fetch(params.vlm.model)
"""


def noise(name: str, size: int = SIZE) -> bytes:
    return random.Random(name).randbytes(size)  # noqa: S311


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Two small VLMs; beside the weights of one lie a pickle and code."""
    glm = dict.fromkeys(("config.json", "tokenizer.json", "chat_template.jinja"), b"{}")
    shards = {"model-00001-of-00002.safetensors": noise("1", 100_000), "model-00002-of-00002.safetensors": noise("2")}
    unsafe = {"pytorch_model.bin": b"pickle", "modeling.py": b"import os"}
    repos = {
        "zai-org/GLM-4.6V-Flash": {**glm, **shards, **unsafe},
        "allenai/Molmo2-8B": {"config.json": b"{}", "model.safetensors": noise("molmo", 100_000)},
    }
    with serving(Hub(repos)) as running:
        yield running


@pytest.fixture
def start(tmp_path: Path, hub: Hub) -> Callable[..., subprocess.Popen[str]]:
    """Start Python in an empty project with a copy of params.yaml, an empty cache, and this Hub."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")

    def go(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        kept = {name: text for name, text in os.environ.items() if not name.endswith("_OFFLINE") and name[:3] != "HF_"}
        own = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=tmp_path, env={**kept, **own, **variables}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return go


def command(start: Callable[..., subprocess.Popen[str]], *arguments: str, **variables: str) -> tuple[int, str, str]:
    running = start("-m", "tasks.tools.download", *arguments, **variables)
    out, err = running.communicate(timeout=120)
    return running.returncode, out, err


def wait_for(condition: Callable[[], object], seconds: float = 30) -> object:
    """The first answer that is true, or the last one."""
    for _ in range(int(seconds * 20)):
        if found := condition():
            return found
        time.sleep(0.05)
    return condition()


def blobs(tmp_path: Path, repo: str) -> dict[str, bytes]:
    """The files of a snapshot in the Hub's cache."""
    folder = tmp_path / "home/hub" / f"models--{repo.replace('/', '--')}" / "snapshots" / COMMIT
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_download_goes_on_in_the_middle_of_a_file(
    tmp_path: Path, hub: Hub, start: Callable[..., subprocess.Popen[str]]
) -> None:
    hub.stall = "model-00002-of-00002.safetensors"
    running = start("-m", "tasks.tools.download", *VLM, "--yes")
    assert hub.stalled.wait(60), running.communicate(timeout=5)
    assert wait_for(lambda: [path for path in tmp_path.rglob("*.incomplete") if path.stat().st_size])
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=30)
    (half,) = [path.stat().st_size for path in tmp_path.rglob("*.incomplete") if path.stat().st_size]
    assert 0 < half < SIZE
    hub.flow.set()
    hub.seen.clear()
    code, out, err = command(start, *VLM, "--yes")
    assert code == 0, err
    assert "left" in out
    # whole files are not requested again, and the half one from its middle on
    large = [(one.path.rsplit("/")[-1], one.range) for one in hub.bodies(".safetensors")]
    assert [name for name, _ in large] == [hub.stall, "model.safetensors"]
    assert large[0][1] == f"bytes={half}-"
    expected = {
        name: data for name, data in hub.repos["zai-org/GLM-4.6V-Flash"].items() if name[-3:] not in ("bin", ".py")
    }
    assert blobs(tmp_path, "zai-org/GLM-4.6V-Flash") == expected
    assert not list(tmp_path.rglob("*.incomplete"))
    assert command(start, *VLM, "--yes")[1].endswith("everything is there\n")


def test_file_that_is_not_what_its_digest_says_is_not_kept(
    tmp_path: Path, hub: Hub, start: Callable[..., subprocess.Popen[str]]
) -> None:
    hub.broken = {"model.safetensors"}
    code, _, err = command(start, *VLM, "--yes")
    assert code == 1
    assert "allenai/Molmo2-8B/model.safetensors: what came is not what the Hub's digest says" in err
    assert "1 of 2 failed" in err
    # the other one is there all the same
    assert len(blobs(tmp_path, "zai-org/GLM-4.6V-Flash")) == 5
    assert not list((tmp_path / "home/hub/models--allenai--Molmo2-8B").rglob("*.safetensors*"))
    hub.broken = set()
    assert command(start, *VLM, "--yes")[0] == 0


def test_refusals_come_before_anything_is_fetched(
    tmp_path: Path, hub: Hub, start: Callable[..., subprocess.Popen[str]]
) -> None:
    hub.gated = {"zai-org/GLM-4.6V-Flash"}
    # no terminal for a confirmation, and access as well: the token goes to the Hub alone, and into no output
    code, out, err = command(start, *VLM, HF_TOKEN=hub.token)
    assert (code, "no terminal for a confirmation" in err) == (1, True), err
    assert hub.token not in out + err
    assert not hub.bodies()
    # gated, with a token that was not granted access; and a revision that is not there
    elsewhere = ["--set", "vlm.clip_model.revision=" + "b" * 40]
    code, out, err = command(start, *VLM, *elsewhere, "--yes", HF_TOKEN="hf_other")  # noqa: S106
    assert code == 1
    assert (
        "is gated: request access at https://huggingface.co/zai-org/GLM-4.6V-Flash, with the account of your HF_TOKEN"
        in err
    )
    assert "the Hub has no such revision (vlm.clip_model.revision)" in err
    assert "hf_other" not in out + err
    assert not hub.bodies()
    assert not (tmp_path / "home/hub").exists()


def test_token_is_not_handed_on_to_the_store(
    tmp_path: Path, hub: Hub, start: Callable[..., subprocess.Popen[str]]
) -> None:
    hub.gated, hub.card = set(hub.repos), "apache-2.0"
    code, out, err = command(start, *VLM, "--yes", HF_TOKEN=hub.token)
    assert code == 0, err
    assert "gated: its owner has to grant" in out
    assert hub.token not in out + err
    assert {one.token for one in hub.seen if one.path.startswith("/store/")} == {None}
    assert f"Bearer {hub.token}" in {one.token for one in hub.seen}


@pytest.mark.parametrize(("typed", "code"), [("n\n", 1), ("y\n", 0)])
def test_a_person_confirms(tmp_path: Path, hub: Hub, typed: str, code: int) -> None:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    os.write(ours, typed.encode())
    found = subprocess.run(
        [sys.executable, "-m", "tasks.tools.download", *VLM], cwd=tmp_path, env=environment, text=True,
        stdin=theirs, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert found.returncode == code, found.stderr
    assert "Fetch 25.37 MB and agree to these licences?" in found.stdout + found.stderr
    assert bool(hub.bodies()) == (code == 0)


def test_every_step_finds_what_it_needs_and_fetches_nothing_again(
    tmp_path: Path, hub: Hub, start: Callable[..., subprocess.Popen[str]]
) -> None:
    hub.repos |= models(tmp_path / "made")
    code, out, err = command(start, *GPU24, "--yes")
    assert code == 0, err
    assert "no dataset card found" in out
    assert not [one for one in hub.bodies() if one.path.endswith((".bin", ".py", "unet/model.safetensors"))]
    hub.seen.clear()
    pins = json.dumps({f"{key}.revision": COMMIT for key in KEYS} | {"vlm.backend": "server"})
    running = start("-c", STEPS, pins)
    _, err = running.communicate(timeout=200)
    assert running.returncode == 0, err
    assert hub.bodies() == []
    # what the steps made of it counts as there, although the download folder is gone
    assert not (tmp_path / "models/.backbone.download").exists()
    code, out, err = command(start, *GPU24, "--yes")
    assert (code, out.endswith("everything is there\n")) == (0, True), err
    assert hub.bodies() == []


def models(folder: Path) -> dict[str, dict[str, bytes]]:
    """Tiny models of the real classes, a diffusers pipeline in names alone, and a data set of no rows."""
    from transformers import Dinov2Config, Dinov2Model, RfDetrConfig, RfDetrForObjectDetection
    from transformers.models.rf_detr.configuration_rf_detr import RfDetrDinov2Config

    from tests.support.florence import write_florence

    Dinov2Model(Dinov2Config(hidden_size=12, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(
        folder / "dino"
    )
    backbone = RfDetrDinov2Config(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=3, num_windows=2, patch_size=16, image_size=128,
        out_features=["stage2", "stage3"],
    )  # fmt: skip
    heads = {"decoder_self_attention_heads": 2, "decoder_cross_attention_heads": 2, "decoder_layers": 1}
    config = RfDetrConfig(backbone_config=backbone, d_model=32, num_labels=80, num_queries=4, group_detr=2, **heads)
    RfDetrForObjectDetection(config).save_pretrained(folder / "detr")
    write_florence(folder / "florence")
    return {
        "facebook/dinov2-large": contents(folder / "dino"),
        "Roboflow/rf-detr-medium": contents(folder / "detr"),
        "florence-community/Florence-2-large": contents(folder / "florence"),
        "stabilityai/stable-diffusion-xl-base-1.0": {
            "model_index.json": b"{}",
            **{name: noise(name, 99) for name in SDXL},
        },
        "datasets/natix-network-org/roadwork": {"data/train-00000-of-00001.parquet": noise("rows", 99)},
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
