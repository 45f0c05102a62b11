"""Switching the profile keeps comments and other keys, and never leaves a file that does not fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.config import ConfigError, load_params
from tasks.tools.profile import main, switch
from tests.support.paths import ROOT

PARAMS = ROOT / "params.yaml"
PINNED = {
    "pull.backbone.revision": "a" * 40,
    "pull.data.revision": "b" * 40,
    "synthesize.sdxl.revision": "c" * 40,
    "detect.detr.revision": "d" * 40,
    "vlm.model.revision": "e" * 40,
    "vlm.clip_model.revision": "f" * 40,
}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(PARAMS, tmp_path / "params.yaml"))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        # the Hub without a pinned revision
        ("gpu24", {}, "revision"),
        # a misspelt key is named
        ("sample", {"train.heads": "mlp"}, "train.heads"),
        # a section that is none
        ("sample", {"profile.x": 1}, "profile.x"),
        # head and features that do not go together
        ("sample", {"train.head": "linear"}, "embed.pooling"),
        # a head to begin with, and nothing that it was trained on
        ("sample", {"adapt.mode": "off"}, "train.start: adapted needs"),
    ],
)
def test_a_result_that_does_not_fit_leaves_the_file_alone(
    params: Path, name: str, changes: dict[str, object], message: str
) -> None:
    before = params.read_bytes()
    with pytest.raises(ConfigError, match=message):
        switch(name, changes, params)
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_the_profile_that_is_on_already_changes_nothing(params: Path) -> None:
    before = params.read_text()
    switch("sample", {}, params)
    assert params.read_text() == before


def test_one_key_changes_one_line(params: Path) -> None:
    before = params.read_text().splitlines()
    switch("sample", {"adapt.mode": "train", "pull.data.path": None}, params)
    after = params.read_text().splitlines()
    (changed,) = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed.startswith("  mode: train ")


def test_off_is_a_word_and_no_boolean(params: Path) -> None:
    # YAML 1.1 would read false, and the message would ask for what stands there
    switch("sample", {"vlm.backend": "off", "adapt.mode": "off", "train.start": "random"}, params)
    assert "backend: off" in params.read_text()
    found = load_params(params)
    assert (found.vlm.backend, found.adapt.mode, found.serve.host) == ("off", "off", "127.0.0.1")
    assert found.vlm.thinking is False


def test_there_and_back_gives_the_same_parameters_and_comments(params: Path) -> None:
    before = params.read_text()
    switch("gpu24", PINNED, params)
    assert load_params(params).profile == "gpu24"
    assert load_params(params).pull.backbone.repo == "facebook/dinov2-large"
    assert "# focal loss, Lin et al. 2017" in params.read_text()
    switch("sample", {}, params)
    assert load_params(params) == load_params(PARAMS)
    assert params.read_text().count("#") == before.count("#")


def test_command_line_says_what_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PARAMS.parent)
    assert main(["gpu24"]) == 1
    assert "revision" in capsys.readouterr().err
