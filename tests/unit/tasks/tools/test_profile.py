"""Switching the profile keeps comments and other keys, and never leaves a file that does not fit."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import pytest

from tasks.config import ConfigError, load_params
from tasks.tools.profile import _yaml, main, merge, switch
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
        # a server on a card that nothing is set aside for
        ("sample", {"vlm.backend": "server", "vlm.device": "cuda"}, "vlm.*memory_gib: 0 GiB of the card leave nothing"),
        # stages that belong on a card that no stage may use
        ("sample", {"memory.gpu_stages": ["ocr"]}, "ocr belong on a GPU, and gpu_gib is 0"),
        # a batch of a CUDA graph that no call has
        ("sample", {"export.batch.graphs": [64]}, "graphs: no batch is larger than maximum, 32"),
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


@pytest.mark.slow
def test_a_file_that_dvc_has_rewritten_is_switched_and_keeps_its_comments(params: Path) -> None:
    """`dvc exp run -S train.gamma=1` writes lists as blocks and leaves null out; the profile writes lists in a line."""
    from dvc.utils.hydra import apply_overrides

    apply_overrides(params, ["train.gamma=1"])
    written = params.read_text()
    assert "layers:                    #" in written
    switch("sample", {"train.epochs": 3, "synthesize.slices": {"time": ["night"]}}, params)
    found = load_params(params)
    assert (found.train.gamma, found.train.epochs, found.embed.layers) == (1, 3, (4, 6))
    assert found.synthesize.slices == {"time": ("night",)}
    assert params.read_text().count("#") == written.count("#")
    switch("sample", {}, params)
    assert load_params(params).embed == found.embed


@pytest.mark.parametrize(
    ("key", "value"),
    [
        # a list in a line, an empty one, a mapping, and nothing, in the place of a list in blocks
        ("embed.layers", [1, 2]),
        ("synthesize.render.distances", []),
        ("export.int8.exclude", {"a": 1}),
        ("select_stages.rule_weights", None),
        # a mapping in the place of null, and null in the place of a mapping
        ("detect.coco", {"annotations": "a.json", "images": "b"}),
        ("vlm.clip_model", None),
    ],
)
@pytest.mark.parametrize("by_dvc", [True, False])
def test_no_value_spoils_the_key_that_follows(params: Path, key: str, value: object, by_dvc: bool) -> None:
    from dvc.utils.hydra import apply_overrides
    from ruamel.yaml import YAML

    if by_dvc:
        apply_overrides(params, ["train.gamma=2.0"])
    expected = YAML(typ="safe").load(params)
    section, *above, last = key.split(".")
    place = expected[section]
    for name in above:
        place = place[name]
    place[last] = value
    text = io.StringIO()
    # in a line, as values of a profile and of --set come
    _yaml().dump(merge(None, {key: _yaml().load(json.dumps(value))}, params), text)
    assert YAML(typ="safe").load(text.getvalue()) == expected


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


@pytest.mark.parametrize("value", [0.3, None])
def test_the_prior_can_be_set(params: Path, value: float | None) -> None:
    assert load_params(params).prior == 0.5
    switch("sample", {"prior": value}, params)
    assert load_params(params).prior == value


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # every answer would be the same
        ("prior: 0", "prior: Input should be greater than 0"),
        ("prior: 1.0", "prior: Input should be less than 1"),
        ("prior: half", "prior: Input should be a valid number"),
        ("prior: .nan", "prior: Input should be less than 1"),
        # a parameter file of before
        ("", "prior: Field required"),
    ],
)
def test_a_prior_that_is_none_is_named(params: Path, line: str, message: str) -> None:
    text = params.read_text()
    params.write_text(re.sub(r"^prior: .*$", line, text, flags=re.MULTILINE))
    with pytest.raises(ConfigError, match=message):
        load_params(params)


def test_there_and_back_gives_the_same_parameters_and_comments(params: Path) -> None:
    before = params.read_text()
    switch("gpu24", PINNED, params)
    assert load_params(params).profile == "gpu24"
    assert load_params(params).pull.backbone.repo == "facebook/dinov2-large"
    assert "# focal loss, Lin et al. 2017" in params.read_text()
    switch("sample", {}, params)
    assert load_params(params) == load_params(PARAMS)
    assert params.read_text().count("#") == before.count("#")


def test_florence_reads_within_the_limit_of_its_stage(params: Path) -> None:
    switch("gpu24", PINNED, params)
    found = load_params(params)
    assert found.ocr.backend == "florence2"
    assert found.ocr.time_limit_seconds is not None
    # an H100 took 5.4 s for 256 tokens, and as long for several pictures; what it has by then is still to be read out
    assert found.ocr.max_tokens * 5.4 / 256 < found.ocr.time_limit_seconds < found.timeouts.ocr


def test_command_line_says_what_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PARAMS.parent)
    assert main(["gpu24"]) == 1
    assert "revision" in capsys.readouterr().err
