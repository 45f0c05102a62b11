"""The model card: the committed one is that of the committed reports, and what is missing says what makes it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cascade.release.build import build_release
from cascade.release.store import Release
from tasks.config import Params, load_params
from tasks.data.schema import split_file
from tasks.release.card.errors import surest_errors, write_sheet
from tasks.release.card.page import card_text
from tasks.release.card.reports import COMMANDS, Reports
from tasks.tools import model_card
from tests.support import tiny
from tests.support.drawn import dataset, write_sample
from tests.support.paths import ROOT
from tests.unit.tasks.validation.test_metrics import answers

INPUTS = ("reports", "models/shipped", "params.yaml", "THIRD_PARTY.md", "docs/*.jpg")
PARAMS = load_params(ROOT / "params.yaml")


def project(folder: Path) -> Path:
    """The files that a card is made from, as they lie in the working tree."""
    for pattern in INPUTS:
        for path in ROOT.glob(pattern):
            found = [path] if path.is_file() else [*path.rglob("metrics.json"), *path.rglob("manifest.json")]
            for file in found:
                target = folder / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    return folder


def test_the_committed_card_is_that_of_the_committed_reports(tmp_path: Path) -> None:
    """Reports of the working tree may be of a run with other data; those of the last commit belong to its card."""
    wanted = [":(glob)reports/**", ":(glob)models/shipped/**/manifest.json", "params.yaml", "THIRD_PARTY.md", "docs"]
    archive = tmp_path / "committed.tar"
    command = ["git", "archive", "--output", str(archive), "HEAD", "--", *wanted]
    if subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("no git history here")
    shutil.unpack_archive(archive, tmp_path, "tar")
    made = card_text(Reports(tmp_path), load_params(tmp_path / "params.yaml"))
    committed = (tmp_path / "docs/model-card.md").read_text(encoding="utf-8")
    assert committed == made, "run `python -m tasks.tools.model_card` and commit docs/model-card.md"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_missing_report_says_what_writes_it(name: str, tmp_path: Path) -> None:
    root = project(tmp_path)
    shutil.rmtree(root / "reports" / name)
    text = " ".join(card_text(Reports(root), PARAMS).split())
    # the vlm alone has no part of its own
    assert name == "vlm" or f"reports/{name}/metrics.json is missing; `{COMMANDS[name]}` writes it" in text


def test_nothing_at_all_still_makes_a_card(tmp_path: Path) -> None:
    text = card_text(Reports(tmp_path), PARAMS)
    assert "`dvc repro validate` writes it" in text
    assert "THIRD_PARTY.md is missing" in text
    assert "models/shipped/adapter/manifest.json" in text
    assert "model_card --pictures" in text


def with_source(params: Params, **given: object) -> Params:
    pull = params.pull.model_validate({**params.pull.model_dump(), "beside": [{"name": "mine", "path": "x", **given}]})
    return params.model_copy(update={"pull": pull})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Further source `mine`: holds both, weight 1."),
        ({"holds": "evaluate", "weight": 2.5}, "holds evaluate, weight 2.5."),
        ({"held_out": ["a", "b"]}, "held out: a, b."),
    ],
)
def test_further_sources_are_named(given: dict[str, object], words: str, tmp_path: Path) -> None:
    text = " ".join(card_text(Reports(project(tmp_path)), with_source(PARAMS, **given)).split())
    assert words in text
    assert "none is in this repository" in text


def test_sources_and_sentences_of_the_reports_are_in_the_card(tmp_path: Path) -> None:
    root = project(tmp_path)
    gate, train = root / "reports/validate/metrics.json", root / "reports/train/metrics.json"
    document = json.loads(gate.read_text())
    document["slice"]["source"]["mine/a"] = {"mcc": 0.5, "mcc_low": 0.25, "mcc_high": 0.75}
    gate.write_text(json.dumps(document))
    learned = json.loads(train.read_text())
    learned |= {
        "weights": {"sentence": "the averaged weights are worse"},
        "shortcut": {"clear": {"sentence": "a shortcut is there"}, "roadwork": {"skipped": "one source"}},
    }
    train.write_text(json.dumps(learned))
    text = card_text(Reports(root), PARAMS)
    assert "| MCC, source mine/a | 0.500 (0.250 to 0.750) | 0.000 |" in text
    assert "Every picture of this challenge set is rendered" not in text
    assert "averaged weights are worse." in text
    assert "clear pictures: a shortcut is there." in text
    assert "roadwork pictures: one source." in text


def released(root: Path) -> Release:
    """A release with the gate of the project's report."""
    revision = {"data": "d" * 64, "code": "c" * 40}
    report = root / "reports/validate/metrics.json"
    classifier = tiny.write_classifier(root / "classifier")
    return build_release(classifier, report, root / "models/releases", revision=revision)


def test_a_release_of_this_run_has_the_same_card(tmp_path: Path) -> None:
    root = project(tmp_path)
    assert card_text(Reports(root, released(root)), PARAMS) == card_text(Reports(root), PARAMS)


def test_reports_of_another_run_are_left_out(tmp_path: Path) -> None:
    """The figures of stage 1 are the release's; those of the other stages would be of other weights."""
    root = project(tmp_path)
    release = released(root)
    (root / "reports/validate/metrics.json").write_text(json.dumps({**release.manifest.gate, "mcc": 0.1}))
    text = card_text(Reports(root, release), PARAMS)
    assert f"| MCC | {release.manifest.gate['mcc']:.3f}" in text
    assert "reports are of another run" in text
    assert "mAP50" not in text


def test_only_rendered_errors_are_shown_one_a_place_and_the_surest_first() -> None:
    views = answers(wrong_level=0)
    source = np.where(np.arange(128) < 64, "rendered", "mine/a")
    p = views.p.copy()
    p[40] = 0.999 if views.label[40] == 0 else 0.001
    found = surest_errors(type(views)(**{**views.__dict__, "p": p, "slices": {**views.slices, "source": source}}))
    assert found[0] == 40
    assert all(row < 64 and row % 4 == 0 for row in found)
    assert len({views.place[row] for row in found}) == len(found) == 8


def test_the_sheet_shows_what_the_engine_answers_wrong(tmp_path: Path) -> None:
    """The tiny classifier calls every grey street with a bluer upper half clear, cones or not."""
    from PIL import Image

    root = project(tmp_path)
    pulled = write_sample(root / "data/pulled", dataset({"train": 0, "calibration": 0, "pool": 0, "challenge": 8}))
    assert split_file(pulled, "challenge").is_file()
    count = write_sheet(released(root), PARAMS.validate_, pulled, root / "docs/model-card-errors.jpg")
    assert count > 0
    with Image.open(root / "docs/model-card-errors.jpg") as sheet:
        assert sheet.width == 228 * min(count, 4)
    assert "](model-card-errors.jpg)" in card_text(Reports(root), PARAMS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["champion"], "no release is champion; `make run`"),
        (["0123456789ab"], "no such release"),
        (["--pictures"], "no release is champion"),
        (["--hotkey", "5Grw"], "ss58"),
        (["--hotkey", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY", "--version", "one"], "version"),
    ],
)
def test_errors_are_one_message(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project(tmp_path))
    assert model_card.main([*arguments, "--out", "card.md"]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not (tmp_path / "model_card.json").exists()


def test_the_command_writes_both_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project(tmp_path))
    hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    assert model_card.main(["--out", "out/card.md", "--hotkey", hotkey, "--version", "1.0.0"]) == 0
    assert (tmp_path / "out/card.md").read_text() == card_text(Reports(tmp_path), PARAMS)
    assert json.loads((tmp_path / "out/model_card.json").read_text())["submitted_by"] == hotkey
