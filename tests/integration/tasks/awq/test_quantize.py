"""The step `quantize` on tiny models of the real classes: GLM-4.6V, Molmo2 in both of its namings, and LLaVA."""

from __future__ import annotations

import io
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cascade.vlm import awq
from cascade.vlm.backend import load_backend
from cascade.vlm.base import VlmError
from cascade.vlm.settings import SETTINGS_FILE, read_settings
from tasks import quantize as step
from tasks.awq.backend import QuantizeError
from tasks.awq.folder import seal
from tasks.awq.llm_compressor import PYTHON
from tasks.awq.quantize import QuantizePaths, quantize, recheck, ship
from tasks.awq.scales import MANIFEST, SCALES_FILE
from tasks.common.files import read_json
from tasks.config import Params, load_params
from tasks.config.quantize import QuantizeLimits, QuantizeParams
from tasks.data.schema import split_file
from tests.support import tiny_vlm
from tests.support.calibration import digests, picture, publish, write_split
from tests.support.paths import ROOT
from tests.support.vlm_settings import write_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]
GROUP = 32
# of random weights in layers of 32 channels: 4 bits cost them more than a trained model
LIMITS = {
    "min_cosine": 0.95, "max_perplexity_ratio": 1.1, "min_agreement": 0.7, "max_lost": 0.0, "max_mcc_loss": 1.0,
    "max_size_ratio": 0.6, "max_group_error": 0.5,
}  # fmt: skip
MODELS = ["llava", "glm4v", "glm46v", "molmo", "molmo_published"]


def params(backend: str = "autoawq", limits: dict[str, float] | None = None, **changes: Any) -> Params:
    """The project's parameters at the size of the tiny models."""
    given = load_params(ROOT / "params.yaml")
    small = {
        "backend": backend, "scales": "search", "group_size": GROUP, "samples": 4, "min_samples": 3, "length": 2000,
        "grid": 5, "search_tokens": 64, "threads": 1, "min_mass": None,
        "limits": QuantizeLimits(**{**LIMITS, **(limits or {})}),
        "check": given.quantize.check.model_copy(update={"images": 4, "logit_images": 2, "texts": 3}),
    }  # fmt: skip
    return given.model_copy(update={"quantize": given.quantize.model_copy(update={**small, **changes})})


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pulled")
    for place, split in enumerate(("train", "calibration")):
        write_split(split_file(folder, split), [picture(100 * place + number) for number in range(12)])
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of VLMs, each written once."""
    root, made = tmp_path_factory.mktemp("models"), dict[str, Path]()

    def get(name: str) -> Path:
        if name not in made:
            folder = root / name
            folder.mkdir()
            getattr(tiny_vlm, f"write_{name.removesuffix('_published')}")(folder)
            if name.endswith("_published"):
                publish(folder)
            # random weights say yes and no with next to no certainty, and all their answers shall count
            write_settings(folder, min_mass=1e-9, files=digests(folder))
            made[name] = folder
        return made[name]

    return get


def go(given: Params, vlm: Path, pulled: Path, work: Path) -> dict[str, Any]:
    return quantize(given, QuantizePaths(pulled, vlm, work / "vlm_awq", work / "metrics.json", work / "costs.json"))


@pytest.mark.parametrize("name", MODELS)
def test_quantize_save_load_compare(name: str, models: Callable[[str], Path], pulled: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    source = models(name)
    found = go(params(), source, pulled, tmp_path)
    assert found == read_json(tmp_path / "metrics.json")
    assert found["samples"] == {"used": 4, "too_long": 0, "corrupt": 0}
    assert found["bytes"]["saved"] > 0
    folder = tmp_path / "vlm_awq"
    before, after = load_file(source / awq.WEIGHTS), load_file(folder / awq.WEIGHTS)
    # every linear layer of the decoder and nothing else is packed
    packed = {key.rsplit(".", 1)[0] for key in after if key.endswith(".qweight")}
    linear = {
        key.rsplit(".", 1)[0]
        for key, value in before.items()
        if ("language_model" in key or "transformer.blocks" in key) and ".layers." in key.replace("blocks", "layers")
        if value.dim() == 2
    }
    assert packed == linear
    assert packed
    for key, value in before.items():
        if key.rsplit(".", 1)[0] in packed and key.endswith(".weight"):
            assert key not in after
        elif "layernorm" not in key and "_norm" not in key and "bias" not in key:
            assert torch.equal(after[key], value.bfloat16()), key
    # what the service loads is that checkpoint, and it answers as the check saw it
    settings = read_settings(folder)
    vlm = load_backend(folder, settings)
    vlm.load()
    answer = vlm.run([Image.open(io.BytesIO(picture(3)))])[0]
    vlm.close()
    assert answer.logit is not None


def test_the_same_run_gives_the_same_files(models: Callable[[str], Path], pulled: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        go(params(), models("llava"), pulled, tmp_path / name)
    files = [
        {
            path.name: path.read_bytes()
            for path in [*(tmp_path / name / "vlm_awq").iterdir(), tmp_path / name / "metrics.json"]
        }
        for name in ("first", "second")
    ]
    assert files[0] == files[1]
    assert str(tmp_path).encode() not in files[0][SETTINGS_FILE]


@pytest.mark.parametrize("name", ["llava", "glm46v", "molmo"])
def test_shipped_scales_give_the_files_of_their_search(
    name: str, models: Callable[[str], Path], pulled: Path, tmp_path: Path
) -> None:
    found = go(params(), models(name), pulled, tmp_path / "search")
    folders = [tmp_path / one for one in ("vlm_awq", "metrics.json", "costs.json", "scales")]
    again = QuantizePaths(pulled, models(name), *folders)
    manifest = ship(params(), again)
    assert manifest["samples"] == found["samples"]
    assert quantize(params(scales="shipped"), again) == found
    for path in again.folder.iterdir():
        assert path.read_bytes() == (tmp_path / "search" / "vlm_awq" / path.name).read_bytes(), path.name


@pytest.fixture(scope="module")
def scales(models: Callable[[str], Path], pulled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scales of the tiny LLaVA."""
    folder = tmp_path_factory.mktemp("shipped") / "vlm_awq"
    ship(params(), QuantizePaths(pulled, models("llava"), scales=folder))
    return folder


@pytest.mark.parametrize(
    ("name", "spoil", "changes", "message"),
    [
        ("llava", lambda folder: (folder / SCALES_FILE).unlink(), {}, "scales.safetensors: no such file"),
        ("llava", lambda folder: (folder / MANIFEST).unlink(), {}, "manifest.json: no such file"),
        ("llava", lambda folder: (folder / SCALES_FILE).write_bytes(b"cut"), {}, "its sha256 is not the manifest's"),
        # scales of other weights would be applied without an error, and cost answers
        ("molmo", lambda _: None, {}, "searched for another model"),
        ("llava", lambda _: None, {"grid": 6}, "another quantize.grid"),
        ("llava", lambda _: None, {"seed": 8, "samples": 5}, "another quantize.samples, quantize.seed"),
    ],
)
def test_shipped_scales_that_do_not_fit(
    name: str,
    spoil: Callable[[Path], object],
    changes: dict[str, Any],
    message: str,
    models: Callable[[str], Path],
    scales: Path,
    pulled: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "scales"
    shutil.copytree(scales, folder)
    spoil(folder)
    paths = QuantizePaths(pulled, models(name), tmp_path / "awq", tmp_path / "m.json", tmp_path / "c.json", folder)
    with pytest.raises(QuantizeError, match=message):
        quantize(params(scales="shipped", **changes), paths)
    assert not paths.folder.exists()


@pytest.mark.parametrize("changes", [{"backend": "llm_compressor"}, {"clip": True}])
def test_shipped_scales_are_autoawqs(changes: dict[str, Any]) -> None:
    given = load_params(ROOT / "params.yaml").quantize.model_dump()
    with pytest.raises(ValueError, match="set it to search"):
        QuantizeParams(**{**given, **changes})


@pytest.mark.usefixtures("on_processor")
def test_unpacking_is_autoawqs(models: Callable[[str], Path], pulled: Path, tmp_path: Path) -> None:
    """Against AutoAWQ's own unpacking, bit by bit in its float16, and its own packing of the same values."""
    import torch

    pytest.importorskip("awq")
    from awq.modules.linear import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm
    from safetensors.torch import load_file

    go(params(), models("llava"), pulled, tmp_path)
    found = load_file(tmp_path / "vlm_awq" / awq.WEIGHTS)
    stem = next(key for key in found if key.endswith("mlp.down_proj.qweight")).removesuffix(".qweight")
    parts = [found[f"{stem}.{part}"] for part in awq.PARTS]
    ours = awq.dequantize(*parts, GROUP)
    assert torch.equal(ours.half(), dequantize_gemm(*parts, 4, GROUP).t())
    linear = torch.nn.Linear(*ours.t().shape, bias=False)
    linear.weight.data = ours
    zeros = torch.stack([awq._values(parts[1])[group] for group in range(len(parts[1]))])
    theirs = WQLinear_GEMM.from_linear(linear, 4, GROUP, False, parts[2], zeros)
    assert torch.equal(theirs.qweight, parts[0])
    assert torch.equal(theirs.qzeros, parts[1])


def test_a_wrong_scale_is_refused(models: Callable[[str], Path], pulled: Path, tmp_path: Path) -> None:
    """By its digest where it is loaded, and by its weights where it is checked, though the digests were renewed."""
    from safetensors.torch import load_file, save_file

    given, source = params(), models("llava")
    go(given, source, pulled, tmp_path)
    folder = tmp_path / "vlm_awq"
    tensors = load_file(folder / awq.WEIGHTS)
    name = next(key for key in tensors if key.endswith("layers.1.mlp.gate_proj.scales"))
    tensors[name][0, 5] *= 4
    save_file(tensors, folder / awq.WEIGHTS, metadata={"format": "pt"})
    settings = read_settings(folder)
    with pytest.raises(VlmError, match="not the file"):
        load_backend(folder, settings).load()
    seal(folder, settings)
    load_backend(folder, read_settings(folder)).load()
    with pytest.raises(QuantizeError, match="max_group_error"):
        recheck(given, QuantizePaths(pulled, source, folder))


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"max_size_ratio": 0.01}, "max_size_ratio"),
        ({"min_cosine": 1.0}, "min_cosine"),
        ({"max_group_error": 1e-6}, "max_group_error"),
    ],
)
def test_outside_of_the_limits_the_checkpoint_before_it_stays(
    limits: dict[str, float], named: str, models: Callable[[str], Path], pulled: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "vlm_awq"
    folder.mkdir()
    (folder / "vlm.json").write_text("the one before", encoding="utf-8")
    with pytest.raises(QuantizeError, match=named):
        go(params(limits=limits), models("llava"), pulled, tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == {"vlm.json": "the one before"}
    # the report tells by how much
    assert read_json(tmp_path / "metrics.json")["bytes"]["saved"] > 0
    assert not list(tmp_path.glob(".vlm_awq*"))


@pytest.mark.parametrize(
    ("corrupt", "changes", "message"),
    [
        # a few broken pictures are passed over, and counted
        ({1, 4}, {}, None),
        (set(range(11)), {}, "cannot be decoded"),
        (set(), {"length": 16}, "longer than quantize.length"),
        (set(), {"samples": 2}, "min_samples is 3"),
    ],
)
def test_calibration_data(
    corrupt: set[int],
    changes: dict[str, Any],
    message: str | None,
    models: Callable[[str], Path],
    pulled: Path,
    tmp_path: Path,
) -> None:
    data = tmp_path / "pulled"
    shutil.copytree(pulled, data)
    pictures = [picture(n)[:50] if n in corrupt else picture(n) for n in range(12)]
    write_split(split_file(data, "train"), pictures)
    given = params(**changes)
    if message is None:
        # all twelve are tried, so both broken ones are met
        found = go(params(samples=10), models("llava"), data, tmp_path)
        assert found["samples"] == {"used": 10, "too_long": 0, "corrupt": 2}
        return
    with pytest.raises(QuantizeError, match=message):
        go(given, models("llava"), data, tmp_path)
    assert not (tmp_path / "vlm_awq").exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"group_size": 128}, QuantizeError, "group_size"),  # no multiple of 32 channels
        ({"backend": "llm_compressor", "python": Path("/nowhere/python")}, QuantizeError, "no such file"),
    ],
)
def test_what_cannot_be_quantized(
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
    models: Callable[[str], Path],
    pulled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(PYTHON, raising=False)
    with pytest.raises(error, match=message):
        go(params(**changes), models("llava"), pulled, tmp_path)


def test_an_unknown_architecture(models: Callable[[str], Path], pulled: Path, tmp_path: Path) -> None:
    from tasks.awq.families import family

    class Config:
        model_type = "qwen9_vl"

    with pytest.raises(QuantizeError, match="qwen9_vl"):
        family(Config())


def test_a_source_cut_short(models: Callable[[str], Path], pulled: Path, tmp_path: Path) -> None:
    source = tmp_path / "vlm"
    shutil.copytree(models("llava"), source)
    file = source / awq.WEIGHTS
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(VlmError, match="not the file"):
        go(params(), source, pulled, tmp_path)


def test_no_disk_space(
    models: Callable[[str], Path],
    pulled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Files of this process may not grow beyond 60 kB, as on a disk that is full; the step's own command line."""
    folder = tmp_path / "models" / "vlm_awq"
    folder.mkdir(parents=True)
    (folder / "vlm.json").write_text("the one before", encoding="utf-8")
    shutil.copytree(models("llava"), tmp_path / "models" / "vlm")
    (tmp_path / "data").mkdir()
    shutil.copytree(pulled, tmp_path / "data" / "pulled")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tasks.config.load_params", params)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        code = step.main([])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 1
    assert message.startswith("quantize: ")
    assert "File too large" in message
    assert message.endswith("the checkpoint before it stays")
    assert (folder / "vlm.json").read_text(encoding="utf-8") == "the one before"
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_switched_off(models: Callable[[str], Path], pulled: Path, tmp_path: Path) -> None:
    """What follows finds the VLM in the same place, unchanged."""
    assert go(params("off"), models("llava"), pulled, tmp_path) == {"off": 1}
    for path in models("llava").iterdir():
        assert (tmp_path / "vlm_awq" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.skipif(not os.environ.get(PYTHON), reason=f"{PYTHON} names no interpreter with llm-compressor")
@pytest.mark.parametrize("name", ["llava", "glm4v"])
def test_llm_compressor(name: str, models: Callable[[str], Path], pulled: Path, tmp_path: Path) -> None:
    found = go(params("llm_compressor"), models(name), pulled, tmp_path)
    assert found["cosine"]["worst"] >= LIMITS["min_cosine"]


def test_llm_compressor_that_fails(
    models: Callable[[str], Path], pulled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This environment has none: its last words reach the message."""
    monkeypatch.delenv(PYTHON, raising=False)
    with pytest.raises(QuantizeError, match="No module named 'llmcompressor'"):
        go(params("llm_compressor", python=Path(sys.executable)), models("llava"), pulled, tmp_path)
