"""vlm.json of a quantized VLM."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.vlm.base import VlmError
from cascade.vlm.settings import SETTINGS_FILE, check_files, read_settings
from tasks import quantize
from tasks.awq.folder import seal
from tests.support.paths import ROOT
from tests.support.vlm_settings import SERVER, vlm_settings

REPO = {"repo": "zai-org/GLM-4.6V-Flash", "revision": "0" * 40}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ()),
        # vLLM detects AWQ by itself; fp8 was for the source
        (["--quantization", "fp8", "--limit-mm-per-prompt", "{}"], ("--limit-mm-per-prompt", "{}")),
        (["--seed", "1", "--quantization", "fp8"], ("--seed", "1")),
    ],
)
def test_the_server_does_not_quantize_again(tmp_path: Path, arguments: list[str], expected: tuple[str, ...]) -> None:
    settings = vlm_settings(server={**SERVER, "arguments": arguments}, model=REPO)
    seal(tmp_path, settings)
    found = read_settings(tmp_path)
    assert found.server is not None
    assert found.server.arguments == expected
    assert (found.model.folder, found.model.repo) == (".", None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # of its source, and its own
        (None, 14.4),
        (12.0, 12.0),
    ],
)
def test_the_quantized_server_is_given_memory_of_its_own(tmp_path: Path, given: float | None, expected: float) -> None:
    seal(tmp_path, vlm_settings(server={**SERVER, "memory_gib": 14.4}), given)
    found = read_settings(tmp_path)
    assert found.server is not None
    assert found.server.memory_gib == expected


def test_every_file_of_both_models_is_vouched_for(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    for name in ("model.safetensors", "clip/model.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    seal(tmp_path, vlm_settings(clip_model=REPO))
    settings = read_settings(tmp_path)
    assert set(settings.files) == {"model.safetensors", "clip/model.safetensors"}
    assert settings.clip_model is not None
    assert settings.clip_model.folder == "clip"
    check_files(tmp_path, settings)
    (tmp_path / "clip/model.safetensors").write_bytes(b"another")
    with pytest.raises(VlmError, match=r"clip/model\.safetensors"):
        check_files(tmp_path, settings)


def test_no_vlm(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = ROOT
    (tmp_path / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert quantize.main([]) == 1
    assert f"models/vlm/{SETTINGS_FILE}" in capsys.readouterr().err
