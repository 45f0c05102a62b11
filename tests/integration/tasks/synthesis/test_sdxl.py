"""SDXL of random weights through the real diffusers classes: both modes, offload, Lightning, and a SIGKILL half-way."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.common.files import read_json
from tasks.data.schema import DataError, read_records, split_file
from tasks.synthesis import sdxl, sdxl_pipeline, sdxl_weights
from tasks.synthesis.prompts import ImageOrder, SourceImage, orders, read_sources
from tasks.synthesis.source_images import SourceImages
from tasks.synthesis.synthesize import SynthesisPaths, synthesize
from tests.support.drawn import write_sample
from tests.support.synthesis import ROOT, Head, content, params
from tests.support.tiny_sdxl import unet, write_sdxl

pytestmark = [pytest.mark.integration, pytest.mark.slow]
COUNTS = {"num_positive": 3, "num_negative": 2}
# dies with the third batch half written
KILLED = """
import json, os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tasks.synthesis import sdxl_batches
from tasks.synthesis.source_images import SourceImages
from tasks.synthesis.synthesize import SynthesisPaths, synthesize
from tests.support.synthesis import Head, params
root, weights = Path(sys.argv[1]), sys.argv[2]
write, written = sdxl_batches._write, []
def _write(*given):
    if len(written) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(write(*given))
sdxl_batches._write = _write
given = params(**json.loads(sys.argv[3]))
paths = SynthesisPaths(Path(sys.argv[4]), root / "data", root / "metrics.json", root / "work")
synthesize(given, Head(0.5), paths)
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums come out alike here and in the process that is killed, whatever tests before these have set."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("pulled"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, pulled: Path) -> Path:
    given = params(engine="sdxl", sdxl__revision="a" * 40)
    every = orders(given, read_sources(split_file(pulled, "train")))
    texts = sorted({text for order in every for text in (order.prompt, order.negative_prompt)})
    return write_sdxl(tmp_path_factory.mktemp("sdxl"), texts)


def changes(weights: Path, **more: Any) -> dict[str, Any]:
    """Small enough for a test, otherwise as params.yaml has it."""
    small = {"sdxl__width": 64, "sdxl__height": 64, "sdxl__steps": 2, "sdxl__batch_size": 2}
    return {"engine": "sdxl", "sdxl__folder": str(weights), **COUNTS, **small, **more}


def run(given: dict[str, Any], pulled: Path, root: Path) -> dict[str, bytes]:
    """Run the step with a head that contradicts nothing; gives the bytes of data/synthetic."""
    paths = SynthesisPaths(pulled, root / "data", root / "metrics.json", root / "work")
    synthesize(params(**given), Head(0.5), paths)
    return content(root / "data")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pulled: Path, weights: Path) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    run(changes(weights), pulled, root)
    return root


def test_rows_hold_their_origin(undisturbed: Path, pulled: Path) -> None:
    rows = list(read_records(undisturbed / "data" / "accepted.parquet"))
    assert [row["label"] for row in rows] == [1, 1, 1, 0, 0]
    places = {row["sha256"]: row["place"] for row in read_records(split_file(pulled, "train"))}
    for row in rows:
        origin = json.loads(row["origin"])
        assert row["source"] == origin["engine"] == "sdxl"
        assert bool(row["scene_description"]) == (row["label"] == 1)
        assert {"prompt", "negative_prompt", "seed", "model", "revision", "steps", "guidance"} <= origin.keys()
        assert len(origin["revision"]) == 64
        if origin["mode"] == "image-to-image":
            # a picture made from a place stays with that place
            assert row["place"] == places[origin["source_sha256"]]
            assert origin["strength"] == 0.7
        else:
            assert row["place"] not in places.values()
    modes = [json.loads(row["origin"])["mode"] for row in rows]
    assert {"text-to-image", "image-to-image"} == set(modes)
    assert read_json(undisturbed / "data" / "manifest.json")["engine"]["licence"].startswith("CreativeML")


def test_second_run_loads_no_weights(undisturbed: Path, pulled: Path, weights: Path, monkeypatch: Any) -> None:
    before = content(undisturbed / "data")
    monkeypatch.setattr(sdxl, "load_painter", None)
    assert run(changes(weights), pulled, undisturbed) == before


def test_killed_run_goes_on_where_it_stopped(
    tmp_path: Path, undisturbed: Path, pulled: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = json.dumps(changes(weights))
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(weights), given, str(pulled)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "data").exists()
    kept = content(tmp_path / "work")
    assert len([name for name in kept if name.endswith(".jpg") and ".partial" not in name]) == 3
    assert [name for name in kept if ".partial" in name]
    painted: list[str] = []
    paint = sdxl_pipeline.paint_batch

    def watched(pipe: Any, params: Any, batch: list[ImageOrder], sources: Any) -> Any:
        painted.extend(order.name for order in batch)
        return paint(pipe, params, batch, sources)

    monkeypatch.setattr(sdxl_pipeline, "paint_batch", watched)
    assert run(changes(weights), pulled, tmp_path) == content(undisturbed / "data")
    assert len(painted) == 2
    assert not {f"{name}.jpg" for name in painted} & {Path(name).name for name in kept if ".partial" not in name}


@pytest.mark.parametrize("damage", ["no end", "no facts", "gone"])
def test_a_damaged_batch_is_painted_again(
    tmp_path: Path, undisturbed: Path, pulled: Path, weights: Path, damage: str
) -> None:
    shutil.copytree(undisturbed, tmp_path / "again")
    picture = sorted((tmp_path / "again" / "work").rglob("*.jpg"))[1]
    if damage == "no end":
        picture.write_bytes(picture.read_bytes()[:-50])
    elif damage == "no facts":
        picture.with_suffix(".json").write_text("{}")
    else:
        picture.unlink()
    assert run(changes(weights), pulled, tmp_path / "again") == content(undisturbed / "data")


@pytest.mark.parametrize(
    ("file", "old", "new", "other"),
    [
        # the pipeline, how pictures are stored, a comment, and code that changes no picture
        ("sdxl_pipeline.py", "add_watermarker=False", "add_watermarker=True", True),
        ("sdxl_batches.py", '"JPEG"', '"PNG"', True),
        ("sdxl_pipeline.py", "import annotations", "import annotations\n\n# a comment", False),
        ("sdxl_weights.py", 'COMPLETE = ".complete"', 'COMPLETE = ".done"', False),
        ("screen.py", "BATCH = 16", "BATCH = 8", False),
    ],
)
def test_an_edit_of_what_makes_pictures_makes_other_ones(
    tmp_path: Path, weights: Path, file: str, old: str, new: str, other: bool
) -> None:
    for name in ("cascade", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    given = params(**changes(weights))
    before = sdxl.work_name(given, [], tmp_path)
    path = tmp_path / "tasks/synthesis" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert (sdxl.work_name(given, [], tmp_path) != before) == other


def test_offload_gives_the_same_pixels_in_both_modes(pulled: Path, weights: Path) -> None:
    """Real accelerate hooks with the processor as device; sequential offload cannot run there (see the gpu test)."""
    train = split_file(pulled, "train")
    given = params(**changes(weights, sdxl__vae_slicing=False))
    pipes = sdxl_pipeline.pipelines(given.sdxl, sdxl_weights.find_weights(given.sdxl))
    shared = [pipe.components for pipe in pipes]
    assert all(shared[0][name] is shared[1][name] for name in shared[0])
    every = orders(given, read_sources(train))
    sources = SourceImages(train, (64, 64))
    seen: dict[str, list[bytes]] = {"none": [], "model": []}
    # there and back: hooks of one pipeline must not stay on the shared models
    for offload in ("none", "model", "none"):
        pixels = []
        for mode, pipe in zip(("text", "image"), pipes, strict=True):
            sdxl_pipeline.place(pipe, offload, "cpu")
            assert bool(getattr(pipe, "_all_hooks", [])) == (offload == "model") or offload == "none"
            batch = [order for order in every if order.mode == mode][:2]
            pixels += [image.tobytes() for image in sdxl_pipeline.paint_batch(pipe, given.sdxl, batch, sources)]
        assert len(set(pixels)) == len(pixels)
        seen[offload] = pixels
    assert seen["none"] == seen["model"]


def test_without_an_accelerator_offload_is_skipped_and_said(
    pulled: Path, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = params(**changes(weights)).sdxl
    pipe, _ = sdxl_pipeline.pipelines(given, sdxl_weights.find_weights(given))
    assert pipe.vae.use_slicing
    assert pipe.vae.use_tiling
    sdxl_pipeline.place(pipe, "sequential", None)
    assert "sequential is skipped" in capfd.readouterr().err


def test_seed_and_source_make_the_picture(pulled: Path, weights: Path) -> None:
    train = split_file(pulled, "train")
    given = params(**changes(weights, sdxl__image_share=1.0))
    _, pipe = sdxl_pipeline.pipelines(given.sdxl, sdxl_weights.find_weights(given.sdxl))
    first, second = [order for order in orders(given, read_sources(train)) if order.label][:2]
    other = next(source for source in read_sources(train) if source.label and source != first.source)
    sources = SourceImages(train, (64, 64))

    def pixels(**change: Any) -> bytes:
        order = ImageOrder(**{**vars(first), **change})
        return sdxl_pipeline.paint_batch(pipe, given.sdxl, [order], sources)[0].tobytes()

    assert pixels() == pixels()
    assert pixels(seed=second.seed) != pixels()
    assert pixels(source=other) != pixels()
    assert pixels(prompt="a clear motorway") != pixels()


def test_lightning_takes_its_own_weights_and_schedule(tmp_path: Path, pulled: Path, weights: Path) -> None:
    from safetensors.torch import save_file

    folder = Path(shutil.copytree(weights, tmp_path / "weights"))
    given = changes(folder, sdxl__variant="lightning", sdxl__guidance=0, sdxl__lightning_file="fast.safetensors")
    fast = params(**given).sdxl
    with pytest.raises(DataError, match="no such file"):
        sdxl_weights.fetch(fast)
    save_file({"other": unet(0).state_dict()["conv_in.bias"]}, folder / "fast.safetensors")
    with pytest.raises(DataError, match="not a UNet"):
        sdxl_pipeline.pipelines(fast, sdxl_weights.find_weights(fast))
    save_file({name: value.contiguous() for name, value in unet(1).state_dict().items()}, folder / "fast.safetensors")
    text, _ = sdxl_pipeline.pipelines(fast, sdxl_weights.find_weights(fast))
    assert text.scheduler.config.timestep_spacing == "trailing"
    assert (text.unet.conv_in.weight == unet(1).conv_in.weight).all()
    order = orders(params(**given), read_sources(split_file(pulled, "train")))[0]
    assert sdxl_pipeline.paint_batch(text, fast, [order], SourceImages(split_file(pulled, "train"), (64, 64)))


def test_prompt_that_would_be_cut_off_is_refused(weights: Path) -> None:
    given = params(**changes(weights)).sdxl
    text, _ = sdxl_pipeline.pipelines(given, sdxl_weights.find_weights(given))
    long = ImageOrder(1, 0, "text", "cones and drums " * 30, "", 1, {})
    with pytest.raises(DataError, match="77 are read"):
        sdxl_pipeline.check_prompts(text, [long])


def test_folder_without_safetensors_is_refused(tmp_path: Path, weights: Path) -> None:
    folder = Path(shutil.copytree(weights, tmp_path / "weights"))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    given = params(**changes(folder)).sdxl
    with pytest.raises(DataError, match="not an SDXL pipeline in safetensors"):
        sdxl_pipeline.pipelines(given, sdxl_weights.find_weights(given))


@pytest.mark.gpu
@pytest.mark.parametrize("offload", ["none", "model", "sequential"])
def test_every_offload_on_a_gpu_in_half_precision(pulled: Path, weights: Path, offload: str) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    train = split_file(pulled, "train")
    given = params(**changes(weights, sdxl__offload=offload))
    every = orders(given, read_sources(train))
    paint = sdxl_pipeline.load_painter(given.sdxl, sdxl_weights.find_weights(given.sdxl), every, train)
    for mode in ("text", "image", "text"):
        batch = [order for order in every if order.mode == mode][:2]
        assert len(paint(batch)) == len(batch)


def test_source_pictures_are_read_one_at_a_time(pulled: Path) -> None:
    train = split_file(pulled, "train")
    sources = SourceImages(train, (64, 48))
    every: list[SourceImage] = read_sources(train)
    assert {sources.picture(source.sha256).size for source in every} == {(64, 48)}
    assert len({sources.picture(source.sha256).tobytes() for source in every}) == len(every)
