"""What a profile needs of the Hub, and what is refused before a request to the Hub."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cascade.config import ConfigError
from tasks.classifier import weights
from tasks.common import hub
from tasks.common.hub.snapshot import chosen_names
from tasks.llava.hub import HUB_FILES
from tasks.tools.download import DownloadError, app, plan
from tasks.tools.downloads import item, places
from tasks.tools.downloads.catalogue import Facts, Need, care, needs
from tasks.tools.profile import switch
from tests.support.paths import ROOT

PINS = {
    "pull.backbone.revision": "a" * 40,
    "pull.data.revision": "b" * 40,
    "synthesize.sdxl.revision": "c" * 40,
    "detect.detr.revision": "d" * 40,
    "vlm.model.revision": "e" * 40,
    "vlm.clip_model.revision": "f" * 40,
    "ocr.revision": "0f" * 20,
}
SET = [f"{key}={value}" for key, value in PINS.items()]
LIGHTNING = {"pull": {"data": {}}, "synthesize": {"engine": "sdxl", "sdxl": {"variant": "lightning", "folder": None}}}


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml"))


def need(place: str = "cache", kind: str = "model", patterns: tuple[str, ...] = ("*.safetensors", "*.json")) -> Need:
    return Need("vlm", kind, "some/model", "a" * 40, "vlm.model.revision", place, None, patterns, Facts())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("profile", "changes", "message"),
    [
        # a profile that there is not
        ("gpu48", [], "no such profile; there are gpu24, sample"),
        # no value
        ("gpu24", ["ocr.revision"], "expected key=value"),
        # a misspelt key
        ("gpu24", ["ocr.revison=1"], "ocr.revison"),
        # a branch in place of a commit
        ("gpu24", [*SET, "ocr.revision=main"], "ocr.revision"),
        # what tasks.tools.profile would refuse
        ("gpu24", [*SET, "train.head=conv"], "embed.pooling"),
    ],
)
def test_bad_parameters(params: Path, profile: str, changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(profile, changes)


def test_every_missing_revision_is_named_at_once_with_how_to_set_it(params: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        plan("gpu24", SET[:1])
    assert [key for key in PINS if f"--set {key}=<hash>" in str(caught.value)] == list(PINS)[1:]
    assert "https://huggingface.co/datasets/natix-network-org/roadwork/commits" in str(caught.value)


def test_stage_that_is_left_out_needs_no_revision(params: Path) -> None:
    _, wanted, extra = plan("gpu24", SET[2:], ["classifier", "data", "detectors"])
    assert [one.stage for one in wanted] == ["synthesize", "vlm", "vlm, clips", "ocr"]
    assert extra == []
    with pytest.raises(DownloadError, match="there are classifier, data"):
        plan("gpu24", SET, ["jugde"])


def test_profile_is_computed_and_written_nowhere(params: Path) -> None:
    before = params.read_bytes()
    name, wanted, extra = plan("gpu24", SET)
    assert name == "gpu24"
    assert params.read_bytes() == before
    assert {one.key: one.revision for one in wanted} == PINS
    assert [one.repo for one in wanted if one.kind == "dataset"] == ["natix-network-org/roadwork"]
    assert [(one.what, one.licence) for one in extra] == [("YOLO11", "AGPL-3.0")]


def test_parameters_that_are_in_the_profile_keep_their_revisions(params: Path) -> None:
    switch("gpu24", PINS, params)
    assert plan(None, []) == plan("gpu24", []) == plan("gpu24", SET)


def test_lightning_is_a_second_snapshot() -> None:
    sdxl = LIGHTNING["synthesize"]["sdxl"] | {  # type: ignore[index]
        "repo": "some/base", "revision": "a" * 40, "lightning_repo": "some/fast", "lightning_file": "fast.safetensors",
    }  # fmt: skip
    found = needs({**LIGHTNING, "synthesize": {"engine": "sdxl", "sdxl": sdxl}})
    assert [(one.repo, one.revision, one.patterns) for one in found] == [
        ("some/base", "a" * 40, ()), ("some/fast", "", ("fast.safetensors",)),
    ]  # fmt: skip


def test_files_are_those_that_the_steps_ask_for(params: Path) -> None:
    """A step that found one missing would fetch it, or fail offline."""
    patterns = {one.stage: list(one.patterns) for one in plan("gpu24", SET)[1]}
    assert patterns["classifier"] == patterns["detectors"] == list(weights.HUB_FILES)
    assert patterns["vlm"] == patterns["vlm, clips"] == list(HUB_FILES)


@pytest.mark.parametrize(
    ("given", "there", "expected"),
    [
        # no pickle and no code, though a pattern matches all
        (
            need(patterns=("*",)),
            ["a.safetensors", "b.bin", "c.pt", "d.py", "e.json", "f.gguf"],
            ["a.safetensors", "e.json"],
        ),
        # no way out of the folder
        (need(), ["a.safetensors", "../b.json", "/etc/c.json"], ["a.safetensors"]),
        # a data set
        (need(kind="dataset", patterns=("*.parquet",)), ["data/a.parquet", "x.py"], ["data/a.parquet"]),
        # one file of a repository
        (need("diffusers", patterns=("x.safetensors",)), ["x.safetensors", "y.safetensors"], ["x.safetensors"]),
        # pickles alone
        (need(), ["pytorch_model.bin", "config.json"], "holds no .safetensors"),
        (need("diffusers", patterns=()), ["model_index.json", "unet/x.bin"], "other formats are not loaded"),
    ],
)
def test_only_what_is_safe_is_chosen(given: Need, there: list[str], expected: list[str] | str) -> None:
    if isinstance(expected, list):
        assert chosen_names(places.snapshot_of(given), there) == expected
        return
    with pytest.raises(hub.HubError, match=expected):
        chosen_names(places.snapshot_of(given), there)


@pytest.mark.parametrize(
    ("licence", "says"),
    [
        ("AGPL-3.0", "source of the whole"), ("sai-nc-community (non-commercial)", "no commercial use"),
        ("DINOv3 License", "Meta's own terms"), ("CreativeML Open RAIL++-M", "attachment A"), (None, "not known"),
        ("Apache-2.0", ""), ("MIT", ""),
    ],
)  # fmt: skip
def test_licences_that_need_care(licence: str | None, says: str) -> None:
    assert says in care(licence)
    assert bool(care(licence)) == bool(says)


def test_disk_that_is_too_small(params: Path) -> None:
    huge = hub.Listing((hub.File("a.safetensors", 1 << 60, None),), None, gated=False)
    with pytest.raises(item.SpaceError, match=r"GB and 1 GiB to spare are needed on this disk, .* free"):
        item.check_space([item.DownloadItem(need("backbone"), huge, left=1 << 60)])
    # nothing left but to finish
    item.check_space([item.DownloadItem(need(), huge, left=0)])


def test_places_are_those_of_the_steps() -> None:
    assert places.snapshot_of(need("backbone")).folder == weights.BACKBONE.with_name(".backbone.download")
    assert places.snapshot_of(need("data")).folder == Path("var/hub/some--model") / ("a" * 40)
    assert places.snapshot_of(need("cache")).folder is None


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        # the sample needs nothing
        (["--profile", "sample"], 0, "nothing has to be fetched"),
        # no request is possible: the catalogue's sizes, and that is all
        (["--profile", "gpu24", "--dry-run", *(part for one in SET for part in ("--set", one))], 0, "about 20.6 GB"),
        (["--profile", "gpu24", "--yes", *(part for one in SET for part in ("--set", one))], 1, "nothing was fetched"),
    ],
)
def test_command_without_a_hub(params: Path, arguments: list[str], code: int, says: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, says in result.output) == (code, True), result.output
    if "gpu24" in arguments:
        for word in ("AGPL-3.0", "source of the whole", "attachment A", "HF_HUB_OFFLINE", "not known"):
            assert word in result.output
    assert not (params.parent / "var").exists()
